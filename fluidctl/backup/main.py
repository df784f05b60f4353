"""The Jobs around backups: ``fluidctl take-backup``, ``verify-backup``, ``delete-backup``, ``stage-restore``.

Their options are those that controllers.api.job_commands builds.
"""

import argparse
import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from controllers.api import job_commands as jobs
from controllers.api.command import RESULT_PATH
from controllers.api.result import BackupFacts, Exit, Master, Result, Totals, describe
from fluidctl.backup.delete import delete
from fluidctl.backup.errors import BackupError, volume
from fluidctl.backup.manifest import version
from fluidctl.backup.sources import Agent, FromAgent, FromSharedDirectory
from fluidctl.backup.stage import CLAIM, JOURNAL, discard, stage
from fluidctl.backup.take import Source, take
from fluidctl.backup.verify import verify
from fluidctl.backup.volume import Directory, Strange
from fluidctl.load import process
from fluidctl.load.channel import Client, Settings
from fluidctl.load.errors import Halted, StepError, unexpected
from fluidctl.load.watch import Watch

log = logging.getLogger(__name__)
Facts = BackupFacts | None


def main(argv: Sequence[str]) -> int:
    """Run the Job that ``argv`` names; see ``process.main``."""
    return process.main(argv, _parser(), lambda options, watch: run(Job(options, watch), watch), logging.INFO)


class Job:
    """One Job: what it does, and which master it asked, as soon as it knows."""

    def __init__(self, options: argparse.Namespace, watch: Watch) -> None:
        self._options, self._watch = options, watch
        self.step: str = options.step
        self.master: Master | None = None

    def work(self) -> tuple[Facts, str]:
        """Do it; return what the backup is and a sentence. Raise StepError, Halted."""
        works: dict[str, Callable[[], tuple[Facts, str]]] = {
            jobs.TAKE: self._take,
            jobs.VERIFY: self._verify,
            jobs.REMOVE: self._remove,
            jobs.STAGE: self._stage,
        }
        return works[self.step]()

    def _take(self) -> tuple[Facts, str]:
        options, watch = self._options, self._watch
        command = jobs.TakeBackup(
            tuple(options.master), options.directory, options.dataset, options.backup, options.agent
        )
        with volume(CLAIM, written=True), Directory(options.claim_path) as claim:
            client = Client(Settings(command.masters, options.user, options.auth, options.connect_seconds), watch)
            self.master = client.master
            try:
                return take(command, claim, self._source(client), watch, _now), ""
            except Strange as error:
                raise BackupError(Exit.VOLUME_FAILED, "VolumeFailed", f"{command.directory}: {error}.") from error
            finally:
                client.close()

    def _source(self, client: Client) -> Source:
        options = self._options
        if options.agent:
            token = options.token_file.read_text().strip()
            return FromAgent(client, Agent(options.agent, token, self._watch), options.staging_path, self._watch)
        place, _, last = options.directory.rpartition("/")
        partial = "/".join(part for part in (options.shared_directory.rstrip("/"), place, f".{last}.partial") if part)
        return FromSharedDirectory(client, partial, self._watch)

    def _verify(self) -> tuple[Facts, str]:
        options = self._options
        with volume(CLAIM, written=False), Directory(options.claim_path) as claim:
            return verify(claim, options.directory, options.manifest_sha256, self._watch), ""

    def _remove(self) -> tuple[Facts, str]:
        options = self._options
        with volume(CLAIM, written=True), Directory(options.claim_path) as claim:
            delete(claim, options.directory, options.backup_uid, partial_only=options.partial_only)
        return None, ""

    def _stage(self) -> tuple[Facts, str]:
        options = self._options
        with volume(JOURNAL, written=True), Directory(options.journal_path) as journal:
            if options.discard:
                discard(options.owner, journal)
                return None, ""
            with volume(CLAIM, written=False):
                claim = Directory(options.claim_path)
            command = jobs.StageRestore(
                options.owner,
                options.directory or "",
                options.mounts_hash,
                options.engine_version or "",
                options.manifest_sha256,
                options.checksum,
            )
            with claim:
                return stage(command, claim, journal, self._watch)


def run(job: Job, watch: Watch) -> tuple[Result, Exit]:
    """Do a Job; every known end is a result, every unknown one is logged and INTERNAL."""
    code, facts, message, reason = Exit.COMPLETE, None, "", ""
    try:
        watch.tick()
        facts, message = job.work()
    except (StepError, Halted) as error:
        code, message, reason = _said(watch.end() if isinstance(error, Halted) else error)
    except Exception:
        log.exception("unexpected error")
        code, message, reason = _said(unexpected())
    totals = Totals(facts.files, facts.directories, facts.bytes) if facts else None
    reason = reason or describe(code)[0]
    seconds = round(watch.seconds, 1)
    message = message.encode(errors="replace").decode()  # a claim may hold names that are no text
    return Result(job.step, reason, message, totals, job.master, backup=facts, seconds=seconds), code


def _said(end: StepError) -> tuple[Exit, str, str]:
    message = end.message
    if end.code is Exit.TERMINATED:
        message = "The Job was told to stop and left nothing; a new attempt begins anew."
    return end.code, message, end.reason if isinstance(end, BackupError) else ""


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fluidctl", allow_abbrev=False)
    commands = parser.add_subparsers(dest="step", required=True)
    take_, verify_, remove, stage_ = (
        commands.add_parser(name, allow_abbrev=False) for name in (jobs.TAKE, jobs.VERIFY, jobs.REMOVE, jobs.STAGE)
    )
    for each in (take_, verify_, remove, stage_):
        each.add_argument("--directory", required=each is not stage_, type=_below, help="in the claim")
        each.add_argument("--result-path", default=RESULT_PATH)
        each.add_argument("--claim-path", default=jobs.CLAIM_PATH, help="where the claim of the backup is mounted")
    _take_options(take_)
    for each in (verify_, stage_):
        each.add_argument("--manifest-sha256", default="", help="of the manifest, as the DataBackup says it")
    remove.add_argument("--partial-only", action="store_true", help="only what was not finished")
    remove.add_argument("--backup-uid", default="", help="of the DataBackup; what has another's manifest stays")
    stage_.add_argument("--owner", required=True, help="uid of the Dataset")
    stage_.add_argument("--mounts-hash", default="")
    stage_.add_argument("--engine-version", type=_version, help="of the master that will read the backup")
    stage_.add_argument("--checksum", default="", help="sha256:... of the file, as a person pinned it")
    stage_.add_argument("--discard", action="store_true", help="only remove what was staged for this owner")
    stage_.add_argument("--journal-path", default=jobs.JOURNAL_CLAIM_PATH, help="where the master's claim is mounted")
    return parser


def _take_options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--agent", default="", help="http://host:port")
    source.add_argument("--shared-directory", default="", help="where the masters have the root of the claim")
    process.master_options(parser)
    parser.add_argument("--dataset", required=True, type=_texts, metavar="JSON")
    parser.add_argument("--backup", required=True, type=_texts, metavar="JSON")
    parser.add_argument("--token-file", type=Path, default=jobs.TOKEN_PATH)
    parser.add_argument("--staging-path", default=jobs.STAGING_PATH, help="where the master writes for the agent")


def _below(text: str) -> str:
    if not text or any(part in ("", ".", "..") for part in text.split("/")) or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no directory below the claim")
    return text


def _version(text: str) -> str:
    version(text)
    return text


def _texts(text: str) -> dict[str, str]:
    value = json.loads(text)
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object of texts")
    return value
