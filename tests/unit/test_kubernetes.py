"""The manifests of deploy/kubernetes: what Kubernetes and KEDA accept, and what there is to name in Parley."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from gateway.app import SHUTDOWN_TIMEOUT_S, create_app
from gateway.draining import DISMISS_TIMEOUT_S
from gateway.settings import GatewaySettings
from realtime_bridge.settings import BridgeSettings
from runtime.settings import Settings
from streams import keys
from streams.keys import Role
from tests.unit.test_deploy import COMPOSE, NGINX, SERVICES, aliases, told
from transcoder.settings import TranscoderSettings

HERE = Path(__file__).parents[2] / "deploy" / "kubernetes"
FILES = sorted(HERE.glob("*.yaml"))
VERSIONS = ("1.30", "1.37")
"""The oldest and the newest that they are for."""

Object = dict[str, Any]


def objects(file: Path) -> list[Object]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


EVERYTHING = [(file.name, each) for file in FILES for each in objects(file)]
OURS = [each for _, each in EVERYTHING if "kustomize" not in each["apiVersion"]]
BUILT_IN = [each for each in OURS if not each["apiVersion"].startswith("keda.sh/")]
SETTINGS: dict[str, type[Settings]] = dict(SERVICES)


def name(each: Object) -> str:
    return f"{each['kind']} {each['metadata']['name']}"


def of(kind: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in OURS if each["kind"] == kind}


DEPLOYMENTS = of("Deployment")


def pod(deployment: str) -> Object:
    found: Object = DEPLOYMENTS[deployment]["spec"]["template"]["spec"]
    return found


def container(deployment: str) -> Object:
    (found,) = pod(deployment)["containers"]
    assert isinstance(found, dict)
    return found


def environment(deployment: str) -> dict[str, Object]:
    return {each["name"]: each for each in container(deployment).get("env", [])}


each_service = pytest.mark.parametrize("service", SETTINGS)
each_pod = pytest.mark.parametrize("deployment", DEPLOYMENTS)


@pytest.mark.parametrize("each", BUILT_IN, ids=name)
def test_kubernetes_knows_every_word(each: Object) -> None:
    """And no value is of another kind than it wants."""
    for version in VERSIONS:
        assert kubernetes_validate.validate(each, version, strict=True) == version


def test_a_word_that_it_does_not_know_is_noticed() -> None:
    """Else the test above would say nothing."""
    deployment = DEPLOYMENTS["gateway"]
    wrong = {**deployment, "spec": {**deployment["spec"], "minReadySecond": 10}}
    with pytest.raises(kubernetes_validate.ValidationError, match="minReadySecond"):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_it_is_all_there() -> None:
    """In one name space, and listed where one command applies it; what is optional is not."""
    (listed,) = objects(HERE / "kustomization.yaml")
    optional = {"ingress.yaml", "keda.yaml", "simulator.yaml", "secrets.example.yaml", "kustomization.yaml"}
    assert {*listed["resources"]} == {file.name for file in FILES} - optional
    assert (
        {each["metadata"]["namespace"] for each in OURS if each["kind"] != "Namespace"} == {*of("Namespace")} == {"parley"}
    )
    assert {*DEPLOYMENTS} == {*SETTINGS, "simulator"}


@each_service
def test_what_a_service_is_told_it_reads(service: str) -> None:
    """And what it reads must not differ from the compose file where it is about the container."""
    shared = of("ConfigMap")["parley"]["data"]
    assert container(service)["envFrom"] == [{"configMapRef": {"name": "parley"}}]
    everywhere = {setting for settings in SETTINGS.values() for setting in aliases(settings)}
    assert {*environment(service)} <= aliases(SETTINGS[service])
    assert {*shared} <= everywhere
    for variable in ("PARLEY_HEARTBEAT", "PARLEY_UPLOADS", "PARLEY_RECORDINGS", "PARLEY_TRUSTED_PROXIES"):
        if variable in environment(service):
            assert environment(service)[variable]["value"] in COMPOSE


def test_every_value_can_be_read() -> None:
    """As the services read it at their start."""
    shared = of("ConfigMap")["parley"]["data"]
    for service, settings in SETTINGS.items():
        given = {**shared, **{key: each["value"] for key, each in environment(service).items() if "value" in each}}
        settings.model_validate(given)


@each_service
def test_secrets_come_from_secrets(service: str) -> None:
    """Which the example has, each under its name."""
    has = {
        secret: {*each["stringData"], *re.findall(r"^  #([A-Z_]+): ", (HERE / "secrets.example.yaml").read_text(), re.M)}
        for secret, each in of("Secret").items()
    }
    asked = [each["valueFrom"]["secretKeyRef"] for each in environment(service).values() if "valueFrom" in each]
    assert asked
    assert all(each["key"] in has[each["name"]] for each in asked)
    secrets = {field.alias for field in SETTINGS[service].model_fields.values() if "Secret" in str(field.annotation)}
    assert {each for each in environment(service) if "value" in environment(service)[each]}.isdisjoint(secrets)


@each_pod
def test_a_pod_is_the_container_of_compose(deployment: str) -> None:
    """The same image and command, and as little allowed."""
    ours = container(deployment)
    assert f"image: {ours['image'].partition(':')[0]}:$" in COMPOSE
    assert f"command: [{', '.join(ours['command'])}]" in COMPOSE
    assert pod(deployment)["securityContext"]["runAsNonRoot"] is True
    assert pod(deployment)["securityContext"]["runAsUser"] == 10001
    assert pod(deployment)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(deployment)["automountServiceAccountToken"] is False
    assert ours["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= {*ours["resources"]["requests"]}
    assert "memory" in ours["resources"]["limits"]
    mounts = {each["mountPath"]: each["name"] for each in ours.get("volumeMounts", [])}
    assert {*mounts.values()} == {each["name"] for each in pod(deployment).get("volumes", [])}


@each_pod
def test_a_pod_is_asked_how_it_is(deployment: str) -> None:
    """At paths, and by commands, that there are; liveness by nothing that is Redis's alone, or late."""
    paths = {route.resource.canonical for route in create_app(GatewaySettings()).router.routes() if route.resource}
    ours = container(deployment)
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = ours[kind]
        if "httpGet" in probe:
            assert probe["httpGet"]["path"] in paths
            assert probe["httpGet"]["port"] in {port["name"] for port in ours["ports"]}
        else:
            *command, target = probe["exec"]["command"]
            assert command == ["python", "-m", "runtime.healthcheck"]
            assert target == environment(deployment)["PARLEY_HEARTBEAT"]["value"]
    live = ours["livenessProbe"]
    if deployment in ("transcoder", "bridge"):
        assert live["periodSeconds"] * live["failureThreshold"] >= 300
    else:
        assert live["httpGet"]["path"] == "/livez"


@each_service
def test_there_is_time_to_drain(service: str) -> None:
    """Before it is killed: what comes before SIGTERM, the drain, and what ends after it."""
    pause = container(service).get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
    drain_s = float(of("ConfigMap")["parley"]["data"]["PARLEY_DRAIN_S"])
    needed = float(pause[1]) + drain_s + DISMISS_TIMEOUT_S + SHUTDOWN_TIMEOUT_S
    assert pod(service)["terminationGracePeriodSeconds"] >= needed + 5
    rolled = DEPLOYMENTS[service]["spec"]["strategy"]["rollingUpdate"]
    assert rolled == {"maxSurge": 1, "maxUnavailable": 0}
    if service == "gateway":  # it takes no connection from SIGTERM on
        assert float(pause[1]) >= container(service)["readinessProbe"]["periodSeconds"]
    (budget,) = [each for each in of("PodDisruptionBudget").values() if selects(each, service)]
    assert budget["spec"]["maxUnavailable"] == 1


def selects(each: Object, deployment: str) -> bool:
    """Whether this service or budget means these pods."""
    selector = each["spec"]["selector"]
    wanted = selector.get("matchLabels", selector)
    labels = DEPLOYMENTS[deployment]["spec"]["template"]["metadata"]["labels"]
    return bool(wanted.items() <= labels.items())


def test_names_lead_to_pods() -> None:
    """From the ingress to the service to the port; from an autoscaler to its deployment; the simulator's address."""
    for service, each in of("Service").items():
        assert selects(each, service)
        assert {port["targetPort"] for port in each["spec"]["ports"]} == {
            port["name"] for port in container(service)["ports"]
        }
    assert environment("bridge")["PARLEY_SIMULATOR_URL"]["value"] == "http://simulator:8765/v1"
    (rule,) = of("Ingress")["gateway"]["spec"]["rules"]
    assert [path["backend"]["service"] for path in rule["http"]["paths"]] == [{"name": "gateway", "port": {"name": "http"}}]
    for scaler in (*of("HorizontalPodAutoscaler").values(), *of("ScaledObject").values()):
        assert scaler["spec"]["scaleTargetRef"]["name"] in DEPLOYMENTS
    claims = {volume["persistentVolumeClaim"]["claimName"] for deployment in ("gateway", "transcoder")
              for volume in pod(deployment)["volumes"] if "persistentVolumeClaim" in volume}  # fmt: skip
    assert claims == {*of("PersistentVolumeClaim")}
    assert "replicas" not in DEPLOYMENTS["gateway"]["spec"]


def test_a_transcoder_reaches_redis_and_nothing_else() -> None:
    """It reads what strangers send."""
    labels = DEPLOYMENTS["transcoder"]["spec"]["template"]["metadata"]["labels"]
    lets_out: list[Object] = []
    for policy in of("NetworkPolicy").values():
        selector = policy["spec"]["podSelector"]
        expressions = selector.get("matchExpressions", [])
        assert all(each["operator"] == "In" for each in expressions)
        is_meant = all(labels.get(each["key"]) in each["values"] for each in expressions)
        if is_meant and selector.get("matchLabels", {}).items() <= labels.items():
            lets_out += policy["spec"].get("egress", [])
    assert of("NetworkPolicy")["nothing"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert {port["port"] for each in lets_out for port in each["ports"]} == {53, 6379, 26379}
    private = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}
    assert {to["ipBlock"]["cidr"] for each in lets_out for to in each["to"] if "ipBlock" in to} == private


def test_the_ingress_holds_nothing_back() -> None:
    """As deploy/nginx.conf says it, which is tried; as far as annotations go."""
    prefix = "nginx.ingress.kubernetes.io/"
    said = {key.removeprefix(prefix): value for key, value in of("Ingress")["gateway"]["metadata"]["annotations"].items()}
    for annotation, value in said.items():
        setting = {"proxy-body-size": "client_max_body_size"}.get(annotation, annotation.replace("-", "_"))
        if annotation.endswith("timeout"):
            assert float(value) == told(NGINX.partition("127.0.0.1:8404")[0], setting), annotation
        else:
            assert re.findall(rf"^ +{setting} (.+);$", NGINX, re.M) == [value], annotation
    assert {"proxy-buffering", "proxy-request-buffering", "proxy-http-version", "proxy-body-size", "proxy-read-timeout",
            "proxy-send-timeout"} <= {*said}  # fmt: skip
    assert 'client-body-timeout: "3600"' in (HERE / "ingress.yaml").read_text()


COUNTS = ("pendingEntriesCount", "lagCount", "streamLength")
NAMES = ("stream", "consumerGroup", *COUNTS, "activationLagCount", "databaseIndex", "enableTLS", "unsafeSsl")
TRIGGER = {
    "type": "object",
    "required": ["type", "authenticationRef", "metadata"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["redis-streams", "redis-cluster-streams", "redis-sentinel-streams"]},
        "authenticationRef": {"type": "object", "required": ["name"], "propertyNames": {"const": "name"}},
        "metadata": {
            "type": "object",
            "required": ["stream", "consumerGroup"],
            "additionalProperties": {"type": "string"},  # KEDA takes nothing else
            "propertyNames": {
                "enum": [*NAMES]
            },
            "oneOf": [{"required": [count]} for count in COUNTS],
        },
    },
}  # fmt: skip
COUNT = {"type": "integer", "minimum": 1}
SCALED_OBJECT = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "keda.sh/v1alpha1"},
        "spec": {
            "type": "object",
            "required": ["scaleTargetRef", "triggers"],
            "additionalProperties": False,
            "properties": {
                "scaleTargetRef": {"type": "object", "required": ["name"]},
                **dict.fromkeys(("minReplicaCount", "maxReplicaCount", "pollingInterval"), COUNT),
                "advanced": {"type": "object", "propertyNames": {"const": "horizontalPodAutoscalerConfig"}},
                "triggers": {"type": "array", "minItems": 1, "items": TRIGGER},
            },
        },
    },
}


@pytest.mark.parametrize(
    ("role", "most"),
    [
        ("bridge", BridgeSettings.model_fields["max_sessions"].default),
        ("transcoder", TranscoderSettings.model_fields["max_sessions"].default),
    ],
)
def test_keda_counts_sessions(role: Role, most: int) -> None:
    """Of the group that workers read as, in the stream of their role; fewer for each than one takes on."""
    scaled = of("ScaledObject")[role]
    jsonschema.Draft202012Validator(SCALED_OBJECT).validate(scaled)
    behaviour = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    hpa = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": role}}
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": role}, "maxReplicas": 1, "behavior": behaviour}
    kubernetes_validate.validate({**hpa, "spec": spec}, VERSIONS[-1], strict=True)
    told_of = [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]
    assert {each["stream"] for each in told_of} == {keys.dispatch(role)}
    assert {each["consumerGroup"] for each in told_of} == {keys.DISPATCH_GROUP}
    (pending,) = [int(each["pendingEntriesCount"]) for each in told_of if "pendingEntriesCount" in each]
    (length,) = [int(each["streamLength"]) for each in told_of if "streamLength" in each]
    (lag,) = [int(each["lagCount"]) for each in told_of if "lagCount" in each]
    assert 0 < lag < pending == length < most
    names = {trigger["authenticationRef"]["name"] for trigger in scaled["spec"]["triggers"]}
    assert names == {*of("TriggerAuthentication")}
    for each in of("TriggerAuthentication")["parley-redis"]["spec"]["secretTargetRef"]:
        assert each["key"] in of("Secret")[each["name"]]["stringData"]
