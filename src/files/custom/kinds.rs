//! Custom kinds: where those are known to have their pod specs that do not spell them as Kubernetes does, and which
//! others have theirs in plain sight.

use super::spelled::{CustomKind, Needs, Spec};

/// A pod spec as Kubernetes spells it.
const PLAIN: Spec = Spec {
    at: "spec/template/spec",
    accounts: &["serviceAccountName", "serviceAccount"],
    automount: Some(""),
    default_automount: None,
    containers: &["containers/*"],
    added: "",
    is_own: false,
    needs: None,
};

/// Runners of actions/actions-runner-controller, summerwind's: the controller adds the container `runner`.
const RUNNER: Spec = Spec {
    added: "runner",
    ..PLAIN
};

/// elastic/cloud-on-k8s, `PodTemplateBuilder.setDefaults`: the operator adds its container, and disables automount.
const fn elastic(at: &'static str, added: &'static str) -> Spec {
    Spec {
        at,
        default_automount: Some(false),
        added,
        ..PLAIN
    }
}

/// An Argo Workflow without automount is refused unless its executor, which is in each pod, has an account of its own
/// (argo-workflows: workflow/controller/workflowpod.go).
const fn account_of_executor(at: &'static str) -> Needs {
    Needs {
        at,
        default: "",
        first: "name an account for the executor in `executor.serviceAccountName`, which keeps its token",
    }
}

/// A spec of an Argo Workflow: one pod for each of its templates that runs a container.
const fn workflow(at: &'static str, executor: &'static str) -> Spec {
    Spec {
        at,
        needs: Some(account_of_executor(executor)),
        containers: &[
            "templates/*/container",
            "templates/*/script",
            "templates/*/containerSet/containers/*",
            "templates/*/initContainers/*",
            "templates/*/sidecars/*",
        ],
        added: "main",
        ..PLAIN
    }
}

/// A template of an Argo Workflow that names an account of its own.
const fn workflow_template(at: &'static str, executor: &'static str) -> Spec {
    Spec {
        at,
        needs: Some(account_of_executor(executor)),
        automount: None,
        containers: &["container", "script", "containerSet/containers/*"],
        added: "main",
        is_own: true,
        ..PLAIN
    }
}

/// The account of the executor of an Argo Workflow, whose token each pod gets too (argo-workflows:
/// workflow/controller/workflowpod.go).
const fn workflow_executor(at: &'static str) -> Spec {
    Spec {
        at,
        accounts: &["executor/serviceAccountName"],
        automount: None,
        containers: &[],
        added: "wait",
        is_own: true,
        ..PLAIN
    }
}

/// kubeflow/spark-operator: driver and executors are configured field by field. Executors without an account have that
/// of the driver (apache/spark: `ExecutorKubernetesCredentialsFeatureStep`).
const fn spark(at: &'static str, added: &'static str, accounts: &'static [&'static str]) -> Spec {
    Spec {
        at,
        accounts,
        automount: None,
        containers: &["sidecars/*"],
        added,
        ..PLAIN
    }
}

const DRIVER: &[&str] = &["serviceAccount", "template/spec/serviceAccountName"];
const EXECUTOR: &[&str] = &[
    DRIVER[0],
    DRIVER[1],
    "/spec/driver/serviceAccount",
    "/spec/driver/template/spec/serviceAccountName",
];
const SCHEDULED_EXECUTOR: &[&str] = &[
    DRIVER[0],
    DRIVER[1],
    "/spec/template/driver/serviceAccount",
    "/spec/template/driver/template/spec/serviceAccountName",
];

/// A component of an InferenceService, which is a pod spec with a model beside its containers.
const fn kserve(at: &'static str) -> Spec {
    Spec {
        at,
        added: "kserve-container",
        ..PLAIN
    }
}

/// Where the account of the executor of a Workflow is.
const OF_WORKFLOW: &str = "spec/executor/serviceAccountName";
/// The same of a CronWorkflow.
const OF_CRON_WORKFLOW: &str = "spec/workflowSpec/executor/serviceAccountName";
const ELASTIC: &str = "spec/podTemplate/spec";

/// The custom kinds that spell their pod specs in their own way.
pub(super) const SPELLED: &[CustomKind] = &[
    custom("actions.summerwind.dev", "RunnerDeployment", &[RUNNER]),
    custom("actions.summerwind.dev", "RunnerReplicaSet", &[RUNNER]),
    custom("actions.summerwind.dev", "RunnerSet", &[RUNNER]),
    custom(
        "actions.summerwind.dev",
        "Runner",
        &[Spec {
            at: "spec",
            ..RUNNER
        }],
    ),
    // Its listener runs in the namespace of the controller, as an account of its own.
    custom("actions.github.com", "AutoscalingRunnerSet", &[PLAIN]),
    custom(
        "argoproj.io",
        "Workflow",
        &[
            workflow("spec", OF_WORKFLOW),
            workflow_template("spec/templates/*", OF_WORKFLOW),
            workflow_executor("spec"),
        ],
    ),
    // They have values of charts, which may look like pods.
    custom("helm.toolkit.fluxcd.io", "HelmRelease", &[]),
    custom("helm.cattle.io", "HelmChart", &[]),
    custom("helm.cattle.io", "HelmChartConfig", &[]),
    custom("argoproj.io", "Application", &[]),
    custom("argoproj.io", "ApplicationSet", &[]),
    // They run nothing alone: a Workflow refers to them.
    custom("argoproj.io", "WorkflowTemplate", &[]),
    custom("argoproj.io", "ClusterWorkflowTemplate", &[]),
    custom(
        "argoproj.io",
        "CronWorkflow",
        &[
            workflow("spec/workflowSpec", OF_CRON_WORKFLOW),
            workflow_template("spec/workflowSpec/templates/*", OF_CRON_WORKFLOW),
            workflow_executor("spec/workflowSpec"),
        ],
    ),
    // tektoncd/pipeline: pkg/pod
    custom(
        "tekton.dev",
        "TaskRun",
        &[Spec {
            at: "spec",
            automount: Some("podTemplate"),
            containers: &["taskSpec/steps/*", "taskSpec/sidecars/*"],
            added: "step",
            ..PLAIN
        }],
    ),
    custom(
        "tekton.dev",
        "PipelineRun",
        &[
            Spec {
                at: "spec",
                accounts: &["taskRunTemplate/serviceAccountName", "serviceAccountName"],
                automount: Some("taskRunTemplate/podTemplate"),
                containers: &["pipelineSpec/tasks/*/taskSpec/steps/*"],
                added: "step",
                ..PLAIN
            },
            Spec {
                at: "spec/taskRunSpecs/*",
                accounts: &["serviceAccountName", "taskServiceAccountName"],
                automount: Some("podTemplate"),
                containers: &[],
                added: "step",
                is_own: true,
                ..PLAIN
            },
        ],
    ),
    custom(
        "elasticsearch.k8s.elastic.co",
        "Elasticsearch",
        &[elastic("spec/nodeSets/*/podTemplate/spec", "elasticsearch")],
    ),
    custom(
        "kibana.k8s.elastic.co",
        "Kibana",
        &[elastic(ELASTIC, "kibana")],
    ),
    custom(
        "apm.k8s.elastic.co",
        "ApmServer",
        &[elastic(ELASTIC, "apm-server")],
    ),
    custom(
        "enterprisesearch.k8s.elastic.co",
        "EnterpriseSearch",
        &[elastic(ELASTIC, "enterprise-search")],
    ),
    custom(
        "maps.k8s.elastic.co",
        "ElasticMapsServer",
        &[elastic(ELASTIC, "maps")],
    ),
    custom(
        "logstash.k8s.elastic.co",
        "Logstash",
        &[elastic(ELASTIC, "logstash")],
    ),
    custom(
        "beat.k8s.elastic.co",
        "Beat",
        &[
            elastic("spec/daemonSet/podTemplate/spec", "beat"),
            elastic("spec/deployment/podTemplate/spec", "beat"),
        ],
    ),
    custom(
        "agent.k8s.elastic.co",
        "Agent",
        &[
            elastic("spec/daemonSet/podTemplate/spec", "agent"),
            elastic("spec/deployment/podTemplate/spec", "agent"),
            elastic("spec/statefulSet/podTemplate/spec", "agent"),
        ],
    ),
    custom(
        "sparkoperator.k8s.io",
        "SparkApplication",
        &[
            spark("spec/driver", "spark-kubernetes-driver", DRIVER),
            spark("spec/executor", "executor", EXECUTOR),
        ],
    ),
    custom(
        "sparkoperator.k8s.io",
        "ScheduledSparkApplication",
        &[
            spark("spec/template/driver", "spark-kubernetes-driver", DRIVER),
            spark("spec/template/executor", "executor", SCHEDULED_EXECUTOR),
        ],
    ),
    // open-telemetry/opentelemetry-operator: it creates an account where none is named
    custom(
        "opentelemetry.io",
        "OpenTelemetryCollector",
        &[Spec {
            at: "spec",
            accounts: &["serviceAccount"],
            automount: None,
            containers: &["additionalContainers/*", "initContainers/*"],
            added: "otc-container",
            is_own: true,
            ..PLAIN
        }],
    ),
    // kserve/kserve: pkg/apis/serving/v1beta1
    custom(
        "serving.kserve.io",
        "InferenceService",
        &[
            kserve("spec/predictor"),
            kserve("spec/transformer"),
            kserve("spec/explainer"),
        ],
    ),
    // apache/flink-kubernetes-operator: the account is beside the template
    custom(
        "flink.apache.org",
        "FlinkDeployment",
        &[Spec {
            at: "spec",
            accounts: &["serviceAccount", "podTemplate/spec/serviceAccountName"],
            automount: Some("podTemplate/spec"),
            containers: &[
                "podTemplate/spec/containers/*",
                "jobManager/podTemplate/spec/containers/*",
                "taskManager/podTemplate/spec/containers/*",
            ],
            added: "flink-main-container",
            needs: Some(Needs {
                at: "spec/mode",
                default: "native",
                first: "make sure that the JobManager does not create the pods of its TaskManagers itself, as it does without `mode: standalone`",
            }),
            ..PLAIN
        }],
    ),
    // kubernetes-sigs/agent-sandbox, extensions/controllers/utils.go: automount is disabled unless the template says
    // otherwise.
    custom(
        "extensions.agents.x-k8s.io",
        "SandboxTemplate",
        &[Spec {
            at: "spec/podTemplate/spec",
            default_automount: Some(false),
            ..PLAIN
        }],
    ),
];

const fn custom(group: &'static str, kind: &'static str, specs: &'static [Spec]) -> CustomKind {
    CustomKind { group, kind, specs }
}

/// Groups and kinds that create pods from the pod templates in them as those are written.
pub(super) const PLAIN_KINDS: &[(&str, &str)] = &[
    ("argoproj.io", "Rollout"),
    ("apps.openshift.io", "DeploymentConfig"),
    // Its first spelling, of `v1`.
    ("", "DeploymentConfig"),
    ("agents.x-k8s.io", "Sandbox"),
    ("serving.knative.dev", "Service"),
    ("serving.knative.dev", "Configuration"),
    ("serving.knative.dev", "Revision"),
    ("keda.sh", "ScaledJob"),
    ("jobset.x-k8s.io", "JobSet"),
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"),
    ("batch.volcano.sh", "Job"),
    ("ray.io", "RayCluster"),
    ("ray.io", "RayJob"),
    ("ray.io", "RayService"),
    ("kubeflow.org", "MPIJob"),
    ("kubeflow.org", "PyTorchJob"),
    ("kubeflow.org", "TFJob"),
    ("kubeflow.org", "XGBoostJob"),
    ("kubeflow.org", "Notebook"),
    ("actions.github.com", "EphemeralRunnerSet"),
    ("actions.github.com", "EphemeralRunner"),
    ("apps.kruise.io", "CloneSet"),
    ("apps.kruise.io", "StatefulSet"),
    ("apps.kruise.io", "DaemonSet"),
    super::OF_OPERATOR,
];

/// Groups whose objects have patterns of pod specs, or schemas, and never run a pod.
pub(super) const WITHOUT_PODS: &[&str] = &[
    "apiextensions.k8s.io",
    "admissionregistration.k8s.io",
    "kyverno.io",
    "policies.kyverno.io",
    "cli.kyverno.io",
    "constraints.gatekeeper.sh",
    "expansion.gatekeeper.sh",
    "mutations.gatekeeper.sh",
    "templates.gatekeeper.sh",
    "chainsaw.kyverno.io",
];

/// Kinds that have pod specs and run no pod: a shadow of another object, a history, or what is added to other pods.
pub(super) const KINDS_WITHOUT_PODS: &[(&str, &str)] = &[
    ("apps", "ControllerRevision"),
    ("apps.kruise.io", "SidecarSet"),
    ("kueue.x-k8s.io", "Workload"),
    ("serving.kserve.io", "ClusterServingRuntime"),
    ("serving.kserve.io", "ServingRuntime"),
    ("serving.kserve.io", "LLMInferenceServiceConfig"),
    ("trainer.kubeflow.org", "TrainingRuntime"),
    ("trainer.kubeflow.org", "ClusterTrainingRuntime"),
    ("argoproj.io", "AnalysisTemplate"),
    ("argoproj.io", "ClusterAnalysisTemplate"),
];
