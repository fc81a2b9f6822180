//! The page of `scan -o html` in a real browser: search, filters, sorting and details.

use std::{collections::BTreeSet, fs, path::Path, sync::OnceLock};

use serde_json::{Value, json};
use token_exposure::output::table::visible;

use crate::{
    browser::{Browser, Page},
    rig::program,
};

const SAMPLE: &str = "tests/demo/sample.yaml";

/// Names that the page of 5,000 accounts must show as text: markup, the end of a script, characters that
/// hide or reorder text, and names with a meaning in templates or objects.
const EVIL: [&str; 12] = [
    "<img src=x onerror=\"window.hacked = 1\">",
    "</script><script>window.hacked = 1</script>",
    "<!--<script>",
    "]]><svg onload='window.hacked = 1'>",
    "\u{1b}[31mred\u{7}",
    "safe\u{202e}exe.gnp",
    "zero\u{200b}width\u{feff}",
    "line\u{2028}line\r\nkubectl -n x delete ns x",
    "\"'&lt;&amp;\\u003c",
    "@DATA@",
    "__proto__",
    "javascript:window.hacked=1",
];

/// The page of all accounts in the input.
fn page_of(input: &str, args: &[&str]) -> String {
    let output = program(
        &[&["scan", "-o", "html", "--report-scope", "all"], args].concat(),
        input,
    );
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.starts_with("<!doctype html>"), "{:?}", output.stderr);
    page
}

/// The same, in a file.
fn write(folder: &Path, page: &str) -> std::path::PathBuf {
    let file = folder.join("report.html");
    fs::write(&file, page).unwrap();
    file
}

/// 5,000 accounts in 100 namespaces; some have evil names, are in an evil namespace, and run evil
/// workloads. One account has 12 pods and one has 2.
fn many() -> String {
    let deployment = |namespace: &str, name: &str, account: &str, container: &str| {
        let number = account.strip_prefix("app-").unwrap_or("1");
        let spec = json!({
            "serviceAccountName": account, "automountServiceAccountToken": !number.ends_with(['0', '5']),
            "containers": [{ "name": container, "image": "i" }],
        });
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": namespace },
            "spec": { "template": { "spec": spec } },
        })
    };
    let usual = (0..5000 - EVIL.len()).map(|number| {
        let (namespace, name) = (format!("team-{}", number % 100), format!("app-{number}"));
        deployment(&namespace, &name, &name, "web")
    });
    let evil = EVIL.map(|name| deployment(EVIL[0], name, name, name));
    let more = (1..12).map(|number| format!("more-{number}"));
    let more = more.map(|name| deployment("team-1", &name, "app-1", "web"));
    let two = deployment("team-2", "more", "app-2", "web");
    let items: Vec<Value> = usual.chain(evil).chain(more).chain([two]).collect();
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// Their page, made once: a scan of so many takes seconds.
fn page_of_many() -> &'static str {
    static PAGE: OnceLock<String> = OnceLock::new();
    PAGE.get_or_init(|| page_of(&many(), &["-"]))
}

/// The names in the rows, in order.
fn names(page: &Page) -> Vec<String> {
    page.texts(".account [data-column=name]")
}

fn status(page: &Page) -> String {
    page.text("document.getElementById('status').textContent")
}

#[test]
fn the_same_input_gives_the_same_page_and_no_name_breaks_its_data() {
    let page = page_of_many();
    assert!(page == page_of(&many(), &["-"]), "two runs differ");
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    assert!(!data.contains('<'));
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["accounts"].as_array().unwrap().len(), 5000);
}

#[test]
fn a_row_opens_by_mouse_and_by_keyboard_and_shows_what_explain_prints() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &page_of("", &[SAMPLE]));
    let browser = Browser::shared();
    let page = browser.open(&file, "");
    let opened = "Array.from(document.querySelectorAll('.account'), (row) => \
                  row.querySelector('[aria-expanded=true]') ? 1 : 0)";
    let count = names(&page).len();
    let with = |open: &[usize]| {
        let flags = (0..count).map(|place| usize::from(open.contains(&place)));
        json!(flags.collect::<Vec<_>>())
    };
    assert_eq!(page.ask(opened), with(&[]));
    page.click(".account:nth-child(2) [data-column=message]");
    assert_eq!(page.ask(opened), with(&[1]), "a click anywhere in the row");
    page.ask("document.querySelectorAll('.account button')[1].focus()");
    page.press("ArrowDown");
    page.press("Enter");
    assert_eq!(page.ask(opened), with(&[1, 2]), "Enter");
    page.press("ArrowUp");
    page.press(" ");
    assert_eq!(page.ask(opened), with(&[2]), "the space bar closes it");
    page.press("Enter");

    let lines = "Array.from(document.querySelectorAll('.chain'), (chain) => Array.from(chain.querySelectorAll('h2, li'), \
                 (line) => line.matches('h2') ? line.textContent : line.firstChild.textContent))";
    let chains: Vec<Vec<String>> = serde_json::from_value(page.ask(lines)).unwrap();
    let of_row = |place: usize, column: &str| {
        page.texts(&format!(".account [data-column={column}]"))[place].clone()
    };
    for (chain, place) in chains.iter().zip([1, 2]) {
        let account = format!("{}/{}", of_row(place, "namespace"), of_row(place, "name"));
        let explained = program(&["explain", &account, SAMPLE], "").stdout;
        let explained = String::from_utf8(explained).unwrap();
        // The row itself has the verdict and the message.
        let lines = explained.lines().skip(2).map(str::trim);
        let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        // The page also names the controls of catalogues, before what to do.
        let begin = chain
            .iter()
            .position(|line| line == "CONTROLS THAT ASK FOR THIS");
        let end = chain.iter().position(|line| line == "WHAT TO DO");
        let (begin, end) = (begin.unwrap(), end.unwrap());
        assert!(
            chain[begin..end]
                .iter()
                .any(|line| line.starts_with("CIS Kubernetes Benchmark 5.1.6: "))
        );
        assert_eq!(
            [&chain[..begin], &chain[end..]].concat(),
            lines,
            "{account}"
        );
    }
    assert_eq!(chains.len(), 2);
    assert_eq!(page.noticed(), [""; 0]);
}

#[test]
fn accounts_are_searched_filtered_and_sorted() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &page_of("", &[SAMPLE]));
    let browser = Browser::shared();
    let page = browser.open(&file, "");
    let all = names(&page);
    page.press("/");
    for key in ["V", "A", "u"] {
        page.press(key);
    }
    page.write("lt Review");
    assert_eq!(names(&page), ["vault-client"], "all words must match");
    assert_eq!(status(&page), format!("1 of {} accounts", all.len()));
    page.press("Escape");
    assert_eq!(names(&page), all, "Esc clears");
    page.write("search-reader");
    assert_eq!(names(&page), ["search"], "the role of a binding matches");
    page.write("!");
    assert_eq!(names(&page), [""; 0]);
    assert!(
        status(&page).starts_with("No match among"),
        "{}",
        status(&page)
    );
    page.click("#clear");

    page.click("#verdicts input[value=Review]");
    page.click("#verdicts input[value=Unknown]");
    let verdicts = page.texts(".account [data-column=verdict]");
    let verdicts: BTreeSet<_> = verdicts.iter().map(String::as_str).collect();
    assert_eq!(verdicts, BTreeSet::from(["Review", "Unknown"]));
    page.ask("document.getElementById('namespace').focus()");
    page.press("a");
    assert_eq!(names(&page), ["etl"], "one namespace");
    page.press("Escape");
    assert_eq!(names(&page), all);

    page.click("#columns [data-column=name] button");
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(names(&page), sorted);
    let order = "Array.from(document.querySelectorAll('[aria-sort]'), (column) => [column.dataset.column, column.ariaSort])";
    assert_eq!(page.ask(order), json!([["name", "ascending"]]));
    page.press("Enter");
    sorted.reverse();
    assert_eq!(names(&page), sorted, "descending");
    assert_eq!(page.ask(order), json!([["name", "descending"]]));
    assert_eq!(page.noticed(), [""; 0]);
}

#[test]
fn a_view_is_kept_in_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &page_of("", &[SAMPLE]));
    let browser = Browser::shared();
    let page = browser.open(&file, "");
    page.press("/");
    page.write("a&b");
    page.click("#verdicts input[value=Review]");
    page.click("#columns [data-column=name] button");
    let fragment = "#search=a%26b&verdict=Review&sort=name";
    page.await_that("location.hash", &json!(fragment));
    let view = "[search.value, verdicts.querySelector(':checked').value, columns.querySelector('[aria-sort]').dataset.column]";
    let again = browser.open(&file, fragment);
    assert_eq!(again.ask(view), page.ask(view));
    let odd = browser.open(
        &file,
        "#verdict=x,<b>&namespace=nowhere&sort=-__proto__&search=%",
    );
    assert_eq!(odd.text("search.value"), "%");
    assert_eq!(odd.noticed(), [""; 0]);
}

#[test]
fn a_patch_is_copied_even_without_the_clipboard_api() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &page_of("", &[SAMPLE]));
    let browser = Browser::shared();
    // Each copies another patch, so that the clipboard cannot have the text already.
    for (refused, row) in [(false, 1), (true, 2)] {
        let page = browser.open(&file, "");
        if refused {
            page.ask("void Object.defineProperty(navigator, 'clipboard', { value: undefined })");
        }
        page.click(&format!(".account:nth-child({row}) button"));
        page.click(".patch button");
        page.await_that(
            "document.querySelector('.patch button').textContent",
            &json!("Copied"),
        );
        let command = page.texts(".patch code").remove(0);
        assert!(command.starts_with("kubectl -n shop patch "), "{command}");
        page.press("/");
        page.paste();
        page.await_that("search.value", &json!(command));
        assert_eq!(page.noticed(), [""; 0]);
    }
}

#[test]
fn names_are_shown_as_text_among_5000_accounts() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), page_of_many());
    let browser = Browser::shared();
    let page = browser.open(&file, "");
    assert_eq!(status(&page), "5,000 of 5,000 accounts");
    assert_eq!(names(&page).len(), 100, "only the first rows");
    let untouched = "[document.images.length, document.scripts.length, document.querySelectorAll('svg').length, \
                     typeof window.hacked]";
    let as_made = json!([0, 2, 0, "undefined"]);
    assert_eq!(page.ask(untouched), as_made);

    page.press("/");
    page.write("img src onerror");
    assert_eq!(status(&page), "12 of 5,000 accounts", "the evil namespace");
    let shown: BTreeSet<_> = names(&page).into_iter().collect();
    let expected: BTreeSet<_> = EVIL.iter().map(|name| visible(name)).collect();
    assert_eq!(shown, expected);
    page.ask("document.querySelectorAll('.account button').forEach((button) => button.click())");
    let chains = page.texts(".chain").concat();
    for name in EVIL.map(visible) {
        for text in [
            format!("Deployment/{name}, 1 pod"),
            format!("containers: {name}"),
        ] {
            assert!(chains.contains(&text), "{text}");
        }
    }
    assert_eq!(
        page.texts(".patch code").len(),
        EVIL.len(),
        "each has a patch"
    );
    assert_eq!(
        page.texts(".patch button"),
        [""; 0],
        "no button copies names that a shell could run"
    );
    assert_eq!(page.ask(untouched), as_made);
    page.look("light", 1280);
    page.ask("document.querySelector('.account').scrollIntoView()");
    page.keep_picture("html-evil");

    page.press("Escape");
    page.click("#verdicts input[value=NoToken]");
    assert_eq!(status(&page), "998 of 5,000 accounts");
    page.ask("document.getElementById('namespace').focus()");
    for key in "team-10".chars() {
        page.press(&key.to_string());
    }
    assert_eq!(page.text("namespace.value"), "team-10");
    assert_eq!(status(&page), "50 of 5,000 accounts");
    page.click("#clear");
    page.click("#columns [data-column=pods] button");
    page.press("Enter");
    let pods = page.texts(".account [data-column=pods]");
    assert_eq!(pods[..3], ["12", "2", "1"], "sorted as numbers");
    page.click("#more button");
    assert_eq!(names(&page).len(), 200);
    assert_eq!(
        page.text("document.activeElement.textContent"),
        names(&page)[100],
        "the focus is on the first new row"
    );
    page.ask("dispatchEvent(new Event('beforeprint'))");
    assert_eq!(names(&page).len(), 5000, "all rows are printed");
    assert_eq!(page.noticed(), [""; 0]);
}

#[test]
fn the_page_refuses_to_load_or_run_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &page_of("", &[SAMPLE]));
    let browser = Browser::shared();
    let page = browser.open(&file, "");
    let caught = |script: &str| {
        page.text(&format!("(() => {{ try {{ {script}; return 'done' }} catch (error) {{ return error.name }} }})()"))
    };
    assert_eq!(caught("document.body.innerHTML = '<b>'"), "TypeError");
    assert_eq!(
        caught("document.createElement('script').text = '1'"),
        "TypeError"
    );
    assert_eq!(
        page.text("fetch('http://127.0.0.1:9/').then(() => 'loaded', () => 'refused')"),
        "refused"
    );
    page.ask("void (window.picture = new Image(), picture.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACw=')");
    page.ask("void setTimeout(() => { throw new Error('late') })");
    page.ask("new Promise((done) => setTimeout(done))");
    // Everything is recorded: so the other tests would fail if a page did any of this.
    let noticed = page.noticed().concat();
    for expected in ["TrustedHTML", "127.0.0.1:9", "data:image/gif", "late"] {
        assert!(noticed.contains(expected), "{expected}: {noticed}");
    }
}

/// The lowest contrast between the text of an element and its background, as WCAG defines it.
const CONTRAST: &str = "(() => {
    const rgb = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = (color) => rgb(color).slice(0, 3).map((part) => part / 255)
        .map((part) => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
        .reduce((sum, part, place) => sum + part * [.2126, .7152, .0722][place], 0);
    const behind = (element) => {
        const color = getComputedStyle(element).backgroundColor;
        return rgb(color)[3] === 0 ? behind(element.parentElement) : color;
    };
    const ratios = Array.from(document.querySelectorAll('p, label, .verdict, th button, td, li, h2, code, dt, summary'), (element) => {
        const pair = [light(getComputedStyle(element).color), light(behind(element))].sort((one, other) => other - one);
        return (pair[0] + .05) / (pair[1] + .05);
    });
    return Math.min(...ratios);
})()";

#[test]
fn the_page_reads_well_in_light_and_dark_on_wide_and_narrow_screens() {
    let folder = tempfile::tempdir().unwrap();
    let browser = Browser::shared();
    let sample = page_of("", &[SAMPLE]);
    for (name, html) in [("sample", &*sample), ("many", page_of_many())] {
        let file = write(folder.path(), html);
        let page = browser.open(&file, "");
        page.click(".account:nth-child(2) button");
        let mut backgrounds = BTreeSet::new();
        for scheme in ["light", "dark"] {
            for width in [1280, 400] {
                page.look(scheme, width);
                page.ask("scrollTo(0, 0)");
                page.keep_picture(&format!("html-{name}-{scheme}-{width}"));
                let contrast = page.ask(CONTRAST).as_f64().unwrap();
                assert!(contrast >= 4.5, "{scheme}: {contrast}");
                let over = page.ask("document.documentElement.scrollWidth - innerWidth");
                assert!(over.as_i64().unwrap() <= 0, "{width}: {over} too wide");
                backgrounds.insert(
                    page.text("getComputedStyle(document.documentElement).backgroundColor"),
                );
            }
        }
        assert_eq!(backgrounds.len(), 2);
        assert_eq!(page.noticed(), [""; 0]);
    }
}
