"""How many processor cores this process may use: affinity, hyper-threads and the limit of a container."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["count_physical_cores", "physical_cores", "read_cpu_quota"]

SYSTEM_CPUS = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def physical_cores() -> int:
    """Return the physical cores that this process may use, at least 1."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = count_physical_cores(allowed, read_core_ids(SYSTEM_CPUS))
    quota = read_cpu_quota(CGROUPS, OWN_CGROUP)
    return cores if quota is None else max(1, min(cores, int(quota)))


def count_physical_cores(allowed: Iterable[int], core_ids: Mapping[int, tuple[int, int]]) -> int:
    """Count the cores behind some logical CPUs; CPUs of unknown core count one each.

    Parameters
    ----------
    allowed
        Numbers of logical CPUs.
    core_ids
        (package, core) of each logical CPU; hyper-threads of one core share it.
    """
    return max(1, len({core_ids.get(cpu, (-1, cpu)) for cpu in allowed}))


def read_core_ids(folder: Path) -> dict[int, tuple[int, int]]:
    """Read (package, core) of each logical CPU from Linux's ``/sys/devices/system/cpu``; empty elsewhere."""
    ids = {}
    for topology in folder.glob("cpu[0-9]*/topology"):
        try:
            package = int((topology / "physical_package_id").read_text())
            core = int((topology / "core_id").read_text())
        except (OSError, ValueError):
            continue
        if core >= 0:
            ids[int(topology.parent.name[3:])] = (package, core)
    return ids


def read_cpu_quota(root: Path, membership: Path) -> float | None:
    """Return the CPUs' worth of time that control groups allow, or None without a limit.

    Parameters
    ----------
    root
        Where control groups are mounted, ``/sys/fs/cgroup``.
    membership
        ``/proc/self/cgroup``: which group this process is in. The limit of every group above counts too.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root if not controllers else root / "cpu"
        group = base / path.strip("/")
        for folder in (group, *group.parents):
            quota = _read_quota(folder)
            if quota is not None:
                quotas.append(quota)
            if folder == base:
                break
    return min(quotas, default=None)


def _read_quota(folder: Path) -> float | None:
    """Read the limit of one group: ``cpu.max`` of version 2, or the two files of version 1."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        value = float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None
