"""All files of a cluster for Kubernetes: the objects, the kustomization that names them, and ten lines that say how.

Pure: the same deployment gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from config.errors import Fault, Invalid
from gridctl.export.containers import Deployment
from gridctl.export.folder import File
from gridctl.export.kubernetes.network import Network
from gridctl.export.kubernetes.objects import Grid, dns_label, file, text
from gridctl.export.kubernetes.pods import SECRET
from gridctl.export.kubernetes.readme import readme
from gridctl.export.kubernetes.watching import Watching
from gridctl.export.kubernetes.workloads import Workloads, poll_interval_s

KUSTOMIZATION = "kustomization.yaml"

#: https://github.com/distribution/reference: `[registry[:port]/]path`, a tag, a digest.
_IMAGE_NAME = re.compile(r"([A-Za-z0-9.-]+(:[0-9]{1,5})?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

_WHY_NAMESPACE = "A namespace of its own, in which a pod that asks for more rights than these is refused."


def checked_image(given: str) -> str:
    """`given`, the name of an image, as it is; Invalid where it is none."""
    named, at, digest = given.partition("@")
    name, tag = named, None
    if ":" in named.rpartition("/")[2]:
        name, _, tag = named.rpartition(":")
    parts = ((_IMAGE_NAME, name), (_TAG, tag), (_DIGEST, digest if at else None))
    if not all(text is None or pattern.fullmatch(text) for pattern, text in parts):
        fault = Fault("--image", 0, "image", repr(given), "[REGISTRY/]NAME[:TAG][@sha256:DIGEST]")
        raise Invalid("--image cannot be used", faults=(fault,))
    return given


def namespace_of(cluster: str, given: str | None) -> str:
    """`given`, or one that is named after the cluster; Invalid where `given` is no namespace's name."""
    if given is None:
        return f"gridctl-{dns_label(cluster)}"
    if not _NAMESPACE.fullmatch(given):
        fault = Fault("--namespace", 0, "namespace", repr(given), "1 to 63 of a-z 0-9 -, no dash at an end")
        raise Invalid("--namespace cannot be used", faults=(fault,))
    return given


def render(deployment: Deployment, image: str, namespace: str) -> Iterator[File]:
    """Every file of `deployment`, in no folder: one object a file, kustomization.yaml and README.md."""
    grid = Grid(deployment.cluster, namespace)
    elsewhere = tuple(target for target in deployment.targets if target.url is not None)
    objects = [
        _namespace(grid),
        *Workloads(deployment, grid, image).files(),
        *Network(deployment, grid).files(),
        *Watching(grid, deployment.scrape_interval_s, poll_interval_s(deployment), elsewhere).files(),
    ]
    yield from objects
    yield KUSTOMIZATION, _kustomization([path for path, _ in objects], namespace)
    yield ".gitignore", f"{SECRET}\n"
    yield "README.md", readme(deployment, grid)


def _namespace(grid: Grid) -> File:
    metadata = grid.metadata(grid.namespace)
    del metadata["namespace"]
    metadata["labels"] |= {"pod-security.kubernetes.io/enforce": "restricted"}
    return file("v1", "Namespace", {"metadata": metadata}, _WHY_NAMESPACE, "namespace.yaml")


def _kustomization(paths: list[str], namespace: str) -> str:
    head = (
        "# The image is a name that is replaced here; see README.md for the Secret, which is nowhere in these files.\n"
    )
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": paths,
    }
    return head + text(content)
