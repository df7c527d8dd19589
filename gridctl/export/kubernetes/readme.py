"""What somebody with a cluster must know and type, in about ten lines. Must not know how an object looks."""

from __future__ import annotations

from config.names import CHARGE_REQUEST, SUBSTATION
from gridctl.export.containers import Deployment
from gridctl.export.kubernetes.objects import APP, Grid
from gridctl.export.kubernetes.pods import SECRET, SECRET_KEY

#: The oldest Kubernetes that takes all of it as it is: `preStop.sleep` (on by default from 1.30), `ordinals` (1.27).
OLDEST = "1.30"


def readme(deployment: Deployment, grid: Grid) -> str:
    """The README of an export; everything to be typed stands between backticks."""
    space = grid.namespace
    port = deployment.of_role(CHARGE_REQUEST)[0].port
    return f"""\
# {deployment.cluster} on Kubernetes

Written by `gridctl kubernetes export`, whose `--check` says if this is current. For Kubernetes {OLDEST} or newer with a
default StorageClass of block storage. {_for_operator(deployment)} need Prometheus' operator:
without it, take them off `kustomization.yaml`.

1. Build an image, which is good for all services: `docker build --target {SUBSTATION} -t IMAGE gridctl-compose/image`, where
   `gridctl compose export` wrote it. Push it, and export this folder again with `--image IMAGE`.
2. Make the token, which is in none of these files: `openssl rand -hex 32 > {SECRET}`
   `kubectl apply -f namespace.yaml`
   `kubectl -n {space} create secret generic {SECRET} --from-file={SECRET_KEY}={SECRET}`
3. `kubectl apply -k .` and watch: `kubectl -n {space} get pods --watch`
4. Ask from here, with `Authorization: Bearer …`: `kubectl -n {space} port-forward service/{CHARGE_REQUEST} {port}`
5. {_counted(space) if deployment.counted else _NAMED}
6. After an edit export and apply again. What is not exported any more runs until you delete it; volumes stay even then.
{_elsewhere(deployment)}"""


def _for_operator(deployment: Deployment) -> str:
    kinds = [f"servicemonitor-{APP}", f"prometheusrule-{APP}"]
    kinds += [f"scrapeconfig-{APP}-elsewhere"] if deployment.externals else []
    *others, last = (f"`{kind}.yaml`" for kind in kinds)
    return f"{', '.join(others)} and {last}"


def _elsewhere(deployment: Deployment) -> str:
    names = ", ".join(f"`{spec.name}`" for spec in deployment.externals)
    told = f"balancers use it, and Prometheus finds it by `scrapeconfig-{APP}-elsewhere.yaml`, without the token"
    return f"\nWhat is elsewhere has no pod: {told}: {names}.\n" if names else ""


def _counted(space: str) -> str:
    return f"""\
Substations are replicas, scaled by the grid's loading: `kubectl -n {space} get hpa {SUBSTATION}` (its file says what that
   needs). One that goes is given time for its sessions; what charges on is on its volume, for when it comes back."""


_NAMED = """\
Substations are places, a StatefulSet each, which nothing scales. An apply restarts all that changed at once, and their
   sessions go on. One after another:
   `for f in statefulset-*.yaml; do kubectl apply -f $f && kubectl rollout status -f $f; done`"""
