"""One run as a component of TorchX: torchrun, with what a run needs, on any scheduler that TorchX knows.

torchx run --scheduler local_cwd launch/torchx_component.py:train --config mine.yaml --j 1x2 run_dir=runs/mine
"""

import secrets

from torchx.components import dist
from torchx.specs import AppDef


def train(
    *overrides: str,
    config: str,
    j: str = "1x2",
    image: str = "cofi_dist",
    cpu: int = 4,
    gpu: int = 0,
    memMB: int = 16384,
    mounts: str = "",
    max_retries: int = 3,
) -> AppDef:
    """Train under torchrun; a run that is started again goes on from its last checkpoint.

    Args:
        overrides: KEY=VALUE of the config
        config: YAML file, at its place in the image
        j: nodes x ranks a node, such as 2x4
        image: image with cofi_dist in it; local_cwd takes none
        cpu: CPUs of a node, for all of its ranks together
        gpu: GPUs of a node, as many as its ranks; 0 for the CPU
        memMB: memory of a node in MB
        mounts: as TorchX writes them, such as type=bind,src=/data,dst=/data
        max_retries: how often the scheduler starts a failed node again
    """
    given = list(overrides)
    if not any(text.startswith("checkpoint.resume=") for text in given):
        given.append("checkpoint.resume=auto")
    ranks = int(j.rpartition("x")[2])
    torchrun = getattr(dist, "torchrun", None) or dist.ddp  # as it was called up to TorchX 0.7
    return torchrun(
        *("train", "--config", config, *given),
        m="cofi_dist",
        name="cofi-dist",
        image=image,
        j=j,
        cpu=cpu,
        gpu=gpu,
        memMB=memMB,
        mounts=mounts.split(",") if mounts else None,
        max_retries=max_retries,
        # the ranks take nobody for one of them who does not hold the token
        env={"COFI_DIST_TOKEN": secrets.token_hex(16), "OMP_NUM_THREADS": str(max(cpu // ranks, 1))},
    )
