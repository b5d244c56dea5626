"""Secrets and open doors planted in the files that ship."""

from __future__ import annotations

from broken_clusters import Broken
from shipped_clusters import AWS, FIXED, KUBE

ENV = "spec.headGroupSpec.template.spec.containers[0].env[0]"
POLICY = "NetworkPolicy.spec"
OPEN = "        - podSelector: {matchLabels: {ray.io/cluster: refkd}}\n---"
SELECTS = "podSelector: {matchLabels: {ray.io/cluster: refkd}}\n  policyTypes"


def written(text: str) -> Broken:
    """Return a secret in front of a command."""
    return Broken(
        FIXED, "REFKD_WORKSPACE=", f"{text} REFKD_WORKSPACE=", "head_start_ray_commands[2]",
        "secret written", "file_mounts"
    )  # fmt: skip


def variable(
    name: str, value: str, what: str = "secret written", remedy: str = "secretKeyRef"
) -> Broken:
    """Return a fault of a variable of the head's pod."""
    return Broken(
        KUBE, "name: MLFLOW_TRACKING_USERNAME, value: admin", f"name: {name}, value: '{value}'",
        ENV, what, remedy
    )  # fmt: skip


def rule(written: str, what: str, *, at: str = ".from[0]", level: str = "problem") -> Broken:
    """Return a fault of the policy's one rule."""
    return Broken(
        KUBE,
        OPEN,
        f"        - {written}\n---",
        f"{POLICY}.ingress[0]{at}",
        what,
        "podSelector",
        level,
    )


BROKEN_SECRETS = {
    "token of a hub": written("HF_TOKEN=hf_secretsecret"),
    "key of an API": written("WANDB_API_KEY='0123abc'"),
    "a secret": written("export CLIENT_SECRET=hunter2;"),
    "a secret's part": written('MY_SECRET_VALUE="hunter2"'),
    "a password": written("PGPASSWORD=hunter2"),
    "password of an option": written("redis-cli --password=hunter2;"),
    "password of an option, apart": written("redis-cli --password hunter2;"),
    "key of AWS that is set": written("aws configure set aws_secret_access_key hunter2;"),
    "token of a header": written("wget --header='Bearer hunter2' host;"),
    "URL with a password": written("curl https://me:hunter2@host/x;"),
    "secret in a comment": Broken(
        FIXED, "  - touch /shared", "  - 'true # HF_TOKEN=hunter2'\n  - touch /shared",
        "setup_commands[6]", "secret written", "file_mounts"
    ),
    "URL in metadata": Broken(
        FIXED, "\nmetadata:", "\nmetadata:\n  db: postgresql://me:hunter2@host/db", "metadata.db",
        "secret written", "file_mounts",
    ),
    "token in metadata": Broken(
        FIXED, "\nmetadata:", "\nmetadata:\n  hf_token: hunter2", "metadata.hf_token",
        "secret written", "file_mounts",
    ),
    "secret of a machine's data": Broken(
        AWS, "      InstanceType: *worker",
        "      UserData: 'export HF_TOKEN=hunter2'\n      InstanceType: *worker",
        "available_node_types.gpu_spot.node_config.UserData", "secret written", "role",
    ),
    "MLflow without a password": Broken(
        FIXED, "REFKD_WORKSPACE=", "REFKD_AUTH=none REFKD_WORKSPACE=",
        "head_start_ray_commands[2]", "no password", "head.sh",
    ),
    # Pods
    "key id of AWS": variable("AWS_ACCESS_KEY_ID", "my-key"),
    "key of an API in a pod": variable("WANDB_API_KEY", "hunter2"),
    "URL of a pod": variable("REFKD_STORAGE", "postgresql://me:hunter2@host/db"),
    "pod without a token": variable("RAY_AUTH_MODE", "disabled", "without a token", "authOptions"),
    "MLflow of a pod without a password": Broken(
        KUBE, "REFKD_AUTH, value: basic", "REFKD_AUTH, value: none",
        "spec.headGroupSpec.template.spec.containers[1].env[1]", "no password", "basic"
    ),
    "network of a node": Broken(
        KUBE, "        restartPolicy: Never\n",
        "        restartPolicy: Never\n        hostNetwork: true\n",
        "spec.headGroupSpec.template.spec.hostNetwork", "past every policy", "remove it",
    ),
    "power over a node": Broken(
        KUBE, "allowPrivilegeEscalation: false", "privileged: true",
        "spec.headGroupSpec.template.spec.containers[0].securityContext.privileged",
        "rule its node", "remove it",
    ),
    "port of a node": Broken(
        KUBE, "          - name: ray-head\n",
        "          - name: ray-head\n            ports: [{hostPort: 8265}]\n",
        "spec.headGroupSpec.template.spec.containers[0].ports[0].hostPort", "of the node",
        "port-forward",
    ),
    "service for the world": Broken(
        KUBE, "---\n# The pods", "---\nkind: Service\nspec: {type: NodePort}\n---\n# The pods",
        "Service.spec.type", "world outside", "ClusterIP"
    ),
    "ingress": Broken(
        KUBE, "---\n# The pods", "---\nkind: Ingress\n---\n# The pods", "Ingress.kind",
        "world outside", "port-forward",
    ),
    "secret of a document without a kind": Broken(
        KUBE, "---\n# The pods", "---\ndb_password: hunter2\n---\n# The pods", "?.db_password",
        "secret written", "secretKeyRef",
    ),
    "Secret in the file": Broken(
        KUBE, "---\n# The pods", "---\nkind: Secret\nstringData: {a: b}\n---\n# The pods",
        "Secret.kind", "written into the file", "kubectl create secret"
    ),
    # Policies
    "policy of another cluster": Broken(
        KUBE, SELECTS, SELECTS.replace("refkd", "other"), f"{POLICY}.podSelector",
        "selects no pods", "refkd",
    ),
    "renamed cluster": Broken(
        KUBE, "  name: refkd\nspec:\n  rayVersion", "  name: mine\nspec:\n  rayVersion",
        f"{POLICY}.podSelector", "selects no pods", "ray.io/cluster: mine"
    ),
    "policy of the head alone": Broken(
        KUBE, SELECTS, SELECTS.replace("ray.io/cluster: refkd", "ray.io/node-type: head"),
        f"{POLICY}.podSelector", "workerGroupSpecs[0]", "refkd"
    ),
    "policy of another namespace": Broken(
        KUBE, "kind: NetworkPolicy\nmetadata:",
        "kind: NetworkPolicy\nmetadata:\n  namespace: other", f"{POLICY}.podSelector",
        "selects no pods", "refkd",
    ),
    "policy for what goes out": Broken(
        KUBE, "[Ingress]", "[Egress]", f"{POLICY}.policyTypes", "lets everybody in", "[Ingress]"
    ),
    "key of a policy": Broken(
        KUBE, "policyTypes:", "policyType:", f"{POLICY}.policyType", "nobody reads", "policyTypes"
    ),
    "key of a rule": Broken(
        KUBE, "    - from:", "    - form:", f"{POLICY}.ingress[0].form", "nobody reads", "from"
    ),
    "rule for everybody": Broken(
        KUBE, "    - from:\n" + OPEN, "    - {}\n---", f"{POLICY}.ingress[0]", "lets everybody in",
        "podSelector",
    ),
    "nobody comes in": Broken(
        KUBE, "  ingress:\n    - from:\n" + OPEN, "  ingress: []\n---", f"{POLICY}.ingress",
        "lets nobody in", "ships",
    ),
    "empty peer": rule("{}", "lets everybody in"),
    "every namespace": rule("namespaceSelector: {}", "every namespace"),
    "the world": rule("ipBlock: {cidr: 0.0.0.0/0}", "whole world"),
    "the world of IPv6": rule("ipBlock: {cidr: '::/0'}", "whole world"),
    "no range": rule("ipBlock: {cidr: 10.0.0.0/40}", "no range of addresses"),
    "every pod beside it": rule("podSelector: {}", "every pod of the namespace", level="note"),
}  # fmt: skip
