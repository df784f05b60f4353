"""The alluxio-site.properties of masters and workers: defaults, what the AlluxioRuntime says, what is ours. Pure."""

from collections.abc import Mapping

from controllers.api.alluxioruntime import MEDIA, AlluxioRuntimeSpec, Level
from controllers.api.job_commands import JOURNAL_CLAIM_PATH, JOURNAL_DIRECTORY, RESTORE_FILE, STAGING_PATH
from controllers.runtime import names

MASTER, WORKER = "master", "worker"
#: The root mount of the master: a directory that holds nothing but those above the Dataset's mounts. It goes with the
#: journal: Alluxio forgets a directory that its storage does not have, and the mounts in it (seen on 2.9.6).
ROOT_PATH = f"{JOURNAL_CLAIM_PATH}/root"
CACHE_PATH = "/var/lib/fluidctl/cache"
_TIERS = "alluxio.worker.tieredstore"
_RESTORE = "alluxio.master.journal.init.from.backup"
_SYNC_ROOT = "alluxio.master.journal.sync.root.after.init.from.backup"
_SPACES = "".join(map(chr, range(33)))  # what Java's trim takes away: Alluxio trims the names of properties
_DEFAULTS = {
    # Who mounts the volume decides who reads; the user of a pod says nothing about the owner of an object in a storage.
    "alluxio.security.authorization.permission.enabled": "false",
    # Else a load writes empty objects into the storage, for directories that have none (seen on 2.9.6).
    "alluxio.underfs.object.store.breadcrumbs.enabled": "false",
    # The default, 5 s of every start, is to see that another master writes the journal no more: there is one alone.
    "alluxio.master.journal.tailer.shutdown.quiet.wait.time": "50ms",
    "alluxio.master.update.check.enabled": "false",  # it would ask its makers, from a cluster that may not
}


def reserved(namespace: str, runtime: str) -> dict[str, str]:
    """Return the properties that an AlluxioRuntime cannot change: by them the parts find each other."""
    return {
        "alluxio.master.hostname": names.host(namespace, runtime),
        "alluxio.master.rpc.port": str(names.MASTER_RPC_PORT),
        "alluxio.master.web.port": str(names.MASTER_WEB_PORT),
        "alluxio.worker.rpc.port": str(names.WORKER_RPC_PORT),
        "alluxio.worker.web.port": str(names.WORKER_WEB_PORT),
        "alluxio.master.journal.type": "UFS",  # of one master: a directory that a Job can lay a backup beside
        "alluxio.master.journal.folder": f"{JOURNAL_CLAIM_PATH}/{JOURNAL_DIRECTORY}",
        "alluxio.master.mount.table.root.ufs": ROOT_PATH,
        "alluxio.master.mount.table.root.readonly": "false",  # the directories above the mounts are made in it
        "alluxio.master.backup.directory": STAGING_PATH,
        # The Jobs speak as root; whoever runs the master is its superuser, and a user without a name would be nobody.
        "alluxio.security.login.username": "root",
    }


def is_reserved(name: str) -> bool:
    """Return whether what an AlluxioRuntime says of this property has no effect."""
    name = name.strip(_SPACES)
    return name in reserved("", "") or name in (_RESTORE, _SYNC_ROOT) or name.startswith(f"{_TIERS}.level")


def sets_reserved(option: str) -> bool:
    """Whether this option of the JVM, which goes before every file, sets such a property: it is left out."""
    return any(word.startswith("-D") and is_reserved(word[2:].partition("=")[0]) for word in option.split())


def variables(role: str) -> tuple[str, str]:
    """Return the environment variables that are ours."""
    return "POD_IP", f"ALLUXIO_{role.upper()}_JAVA_OPTS"


def without_effect(spec: AlluxioRuntimeSpec) -> list[str]:
    """Return the paths of what is set and left out, because it is ours."""
    found = []
    for where, part in (("spec", spec), ("spec.master", spec.master), ("spec.worker", spec.worker)):
        found += [f"{where}.properties[{name}]" for name in part.properties if is_reserved(name)]
        found += [f"{where}.jvmOptions[{at}]" for at, option in enumerate(part.jvm_options) if sets_reserved(option)]
    for role, component in ((MASTER, spec.master), (WORKER, spec.worker)):
        found += [f"spec.{role}.env[{name}]" for name in component.env if name in variables(role)]
    return found


def properties(
    namespace: str, runtime: str, spec: AlluxioRuntimeSpec, role: str, *, restored: bool = False
) -> dict[str, str]:
    """Return all properties of the masters or workers. ``restored``: the master begins with what was staged."""
    component = spec.master if role == MASTER else spec.worker
    said = {**spec.properties, **component.properties}
    kept = {name: value for name, value in said.items() if not is_reserved(name)}
    ours = reserved(namespace, runtime)
    if role == WORKER:
        ours |= _tiers(levels(spec))
    elif restored:
        # Else even a listing that loads nothing would list the whole storage again (seen on 2.9.6).
        ours |= {_RESTORE: f"{JOURNAL_CLAIM_PATH}/{RESTORE_FILE}", _SYNC_ROOT: "false"}
    return _DEFAULTS | kept | ours


def levels(spec: AlluxioRuntimeSpec) -> list[Level]:
    """Return the tiers of the cache, fastest first; where none is given, 1 GiB of memory."""
    given = spec.tieredstore.levels or (Level(mediumtype="MEM", quota="1Gi"),)
    return sorted(given, key=lambda level: MEDIA.index(level.mediumtype))


def cache_path(level: Level) -> str:
    """Return where a tier lies in the worker."""
    return f"{CACHE_PATH}/{level.mediumtype.lower()}"


def render(values: Mapping[str, str]) -> str:
    """Return the text of a Java properties file, sorted; no value can add a line to it."""
    return "".join(f"{_escaped(name)}={_escaped(value)}\n" for name, value in sorted(values.items()))


def _tiers(tiers: list[Level]) -> dict[str, str]:
    found = {f"{_TIERS}.levels": str(len(tiers))}
    for index, level in enumerate(tiers):
        prefix = f"{_TIERS}.level{index}"
        found[f"{prefix}.alias"] = level.mediumtype
        found[f"{prefix}.dirs.path"] = cache_path(level)
        found[f"{prefix}.dirs.mediumtype"] = level.mediumtype
        found[f"{prefix}.dirs.quota"] = f"{level.bytes}B"
        found |= {f"{prefix}.watermark.high.ratio": level.high} if level.high else {}
        found |= {f"{prefix}.watermark.low.ratio": level.low} if level.low else {}
    return found


def _escaped(text: str) -> str:
    """Escape as java.util.Properties reads it."""
    plain = {
        "\\": "\\\\",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\f": "\\f",
        "=": "\\=",
        ":": "\\:",
        "#": "\\#",
        "!": "\\!",
    }
    found = "".join(plain.get(letter, letter) for letter in text)
    return "".join(letter if letter.isascii() else _unicode(letter) for letter in found).replace(" ", "\\ ")


def _unicode(letter: str) -> str:
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
