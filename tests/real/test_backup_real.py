"""Backups of a real master: taken by real Jobs through an agent or a shared directory, and restored."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from controllers.api.job_commands import DeleteBackup, StageRestore, TakeBackup, VerifyBackup
from controllers.api.result import BackupFacts, Exit, Result
from fluidctl.backup.errors import BackupError
from fluidctl.backup.master import begin
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load.channel import Client, Settings
from fluidctl.load.methods import GET_METRICS
from tests.backup_corruption import accepted, corruptions
from tests.backup_files import BACKUP, DATASET, HASH, watch
from tests.load_kit import make, odd_tree, truth
from tests.real.alluxio import Alluxio
from tests.real.process import Process

DIRECTORY = "sub/imagenet/nightly-1a2b3c4d"
PARTIAL = "sub/imagenet/.nightly-1a2b3c4d.partial"
MOUNTED = DATASET | {"path": "/dataset"}
_SECONDS = 120


class Place:
    """One claim, one staging directory with an agent, and Jobs as processes that have them."""

    def __init__(self, root: Path, alluxio: Alluxio) -> None:
        self.alluxio = alluxio
        self.claim, self.staging, self.journal = (root / name for name in ("claim", "staging", "journal"))
        for path in (self.claim, self.staging, self.journal):
            path.mkdir(parents=True)
        self.token = root / "token"
        self.token.write_text("secret")
        self.log = root / "agent.log"

    @contextmanager
    def agent(self) -> Iterator[str]:
        """Run the agent; yield its address."""
        options = ["--bind=127.0.0.1:0", f"--directory={self.staging}", f"--token-file={self.token}"]
        process = Process([sys.executable, "-m", "fluidctl", "agent", *options], self.log)
        try:
            process.wait_ready(lambda: "serves" in self.log.read_text(), _SECONDS)
            yield f"http://{self.log.read_text().splitlines()[0].split()[-1]}"
        finally:
            process.stop()

    def command(self, agent: str = "", shared: str = "") -> TakeBackup:
        """Return the command that takes the backup."""
        return TakeBackup((self.alluxio.rpc_address,), DIRECTORY, MOUNTED, BACKUP, agent, shared)

    def argv(self, command: TakeBackup | VerifyBackup | DeleteBackup | StageRestore) -> list[str]:
        """Return a Job's command line on this machine."""
        argv = [sys.executable, "-m", "fluidctl", *command.argv()[:-1], "--result-path=/dev/null"]
        argv.append(f"--claim-path={self.claim}")
        if isinstance(command, TakeBackup):
            argv += [f"--token-file={self.token}", f"--staging-path={self.staging}"]
        if isinstance(command, StageRestore):
            argv.append(f"--journal-path={self.journal}")
        return argv

    def job(self, command: TakeBackup | VerifyBackup | DeleteBackup | StageRestore) -> tuple[Exit, Result]:
        """Run a Job to its end."""
        done = subprocess.run(self.argv(command), capture_output=True, text=True, timeout=_SECONDS, check=False)
        assert done.stdout, done.stderr
        return Exit(done.returncode), Result.from_json(done.stdout.splitlines()[-1])

    def taken(self, command: TakeBackup) -> BackupFacts:
        """Take the backup, which shall succeed."""
        code, result = self.job(command)
        assert code is Exit.COMPLETE, result
        assert result.backup is not None
        return result.backup

    def files(self) -> set[str]:
        """Return all files in the claim and in the staging directory."""
        return {str(path.relative_to(self.claim.parent)) for path in self._below() if path.is_file()}

    def _below(self) -> list[Path]:
        return [*self.claim.rglob("*"), *self.staging.rglob("*")]


WHOLE = {f"claim/{DIRECTORY}/{name}" for name in ("manifest.json", "metadata.gz")}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two mounts: thousands of files and odd names, and one to be mounted inside of it."""
    root = tmp_path_factory.mktemp("backup")
    for name in ("root", "outer", "inner"):
        (root / name).mkdir()
    odd_tree(root / "outer")
    shutil.rmtree(root / "outer" / "in" / "100%")  # of which Alluxio's own listing finds the directory alone
    make(root / "outer", [f"wide{n // 500}/f{n}" for n in range(3_000)])
    make(root / "inner", [f"i{n}/ä{n}" for n in range(50)])
    return root


@pytest.fixture(scope="module")
def loaded(real_programs: None, storage: Path) -> Iterator[Alluxio]:
    """Return a master with both mounts below /dataset, loaded."""
    with Alluxio(storage / "root", properties={"alluxio.master.mount.table.root.readonly": "false"}) as alluxio:
        alluxio.cli("fs", "mount", "/dataset", str(storage / "outer"))
        alluxio.cli("fs", "mount", "--readonly", "/dataset/nested", str(storage / "inner"))
        alluxio.cli("fs", "ls", "-R", "/")
        yield alluxio


@pytest.fixture
def place(tmp_path: Path, loaded: Alluxio) -> Place:
    """Return an empty claim beside the loaded master."""
    return Place(tmp_path, loaded)


def counter(alluxio: Alluxio, name: str) -> int:
    """Return one of the master's counters."""
    look = watch()
    client = Client(Settings((alluxio.rpc_address,)), look)
    try:
        return int(client.call(GET_METRICS, pb.GetMetricsRequest()).metrics[name].doubleValue)
    finally:
        client.close()


def expected(storage: Path) -> tuple[int, int, int]:
    """Return files, directories and bytes of the dataset: the mount inside of it is one of its directories."""
    outer, inner = truth(storage / "outer"), truth(storage / "inner")
    return outer.files + inner.files, outer.directories + inner.directories + 1, outer.bytes + inner.bytes


def test_through_the_agent_a_backup_is_whole_and_a_new_master_restores_every_entry_of_it(
    place: Place, storage: Path, tmp_path: Path
) -> None:
    """What is counted in the file is what the storage holds, and what the restored master says it read."""
    with place.agent() as agent:
        facts = place.taken(place.command(agent))
        assert place.files() == WHOLE
        assert place.taken(place.command(agent)) == facts  # the next attempt finds it done
    assert facts.entries == counter(place.alluxio, "Master.LastBackupEntriesCount")
    assert (facts.files, facts.directories, facts.bytes) == expected(storage)
    assert facts.engine_version == "2.9.6"
    code, result = place.job(VerifyBackup(DIRECTORY, facts.manifest_sha256))
    assert (code, result.backup) == (Exit.COMPLETE, facts)

    stage = StageRestore("owner", DIRECTORY, HASH, "2.9.6", facts.manifest_sha256, facts.checksum)
    code, result = place.job(stage)
    assert (code, result.backup) == (Exit.COMPLETE, facts)
    restored = {
        "alluxio.master.journal.init.from.backup": f"{place.journal}/restore/metadata.gz",
        "alluxio.master.journal.sync.root.after.init.from.backup": "false",
        "alluxio.master.mount.table.root.readonly": "false",
    }
    with Alluxio(storage / "root", properties=restored) as alluxio:
        assert counter(alluxio, "Master.LastBackupRestoreCount") == facts.entries
        assert "wide5/f2999" in alluxio.cli("fs", "ls", "/dataset/wide5")

    assert place.job(DeleteBackup(DIRECTORY))[0] is Exit.COMPLETE
    assert place.files() == set()


def test_through_a_shared_directory_it_is_the_same(place: Place, storage: Path) -> None:
    """The master writes into the claim itself, and nothing but the two files is left of it."""
    facts = place.taken(place.command(shared=str(place.claim)))
    assert place.files() == WHOLE
    assert (facts.files, facts.directories, facts.bytes) == expected(storage)
    for path in (place.claim / DIRECTORY).iterdir():
        assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o600, os.geteuid())
    code, result = place.job(place.command(shared=str(place.staging)))
    assert (code, result.backup) == (Exit.COMPLETE, facts)  # it is there already: nobody is asked
    place.job(DeleteBackup(DIRECTORY))

    code, result = place.job(place.command(shared=str(place.staging)))
    assert (code, result.reason) == (Exit.BACKUP_REFUSED, "BackupDirectoryWrong")
    assert "backupDirectory" in result.message
    assert {each for each in place.files() if each.startswith("claim")} == set()


def test_what_a_client_made_outside_of_the_dataset_is_refused_until_it_is_gone(place: Place, storage: Path) -> None:
    """At the take, not when it is needed. Of an Alluxio that somebody else runs a backup holds all on purpose."""
    place.alluxio.cli("fs", "mkdir", "/other/deep")
    with place.agent() as agent:
        code, result = place.job(place.command(agent))
        assert (code, result.reason, result.backup) == (Exit.BACKUP_REFUSED, "OutsideDataset", None)
        assert "outside of /dataset" in result.message
        assert "/other." in result.message
        assert place.files() == set()
        assert place.taken(place.command(shared=str(place.claim))).directories == expected(storage)[1] + 2
        place.job(DeleteBackup(DIRECTORY))

        place.alluxio.cli("fs", "rm", "-R", "/other")
        facts = place.taken(place.command(agent))
    assert (facts.files, facts.directories, facts.bytes) == expected(storage)


def test_a_master_that_cannot_write_its_backup_is_quoted(place: Place) -> None:
    """In its own words, out of what Java serialized."""
    code, result = place.job(place.command(shared="/proc/nowhere"))
    assert (code, result.reason) == (Exit.BACKUP_FAILED, "BackupFailed")
    assert "Failed to create directory /proc/nowhere" in result.message


def test_a_master_that_is_at_another_backup_is_asked_again_later(place: Place) -> None:
    """It takes one at a time, and says so at once: no attempt is charged for that."""
    client = Client(Settings((place.alluxio.rpc_address,)), watch())

    def ask_until_refused() -> None:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:  # the one before may have ended
            client.persist(lambda session: begin(session, str(place.staging)))

    with closing(client), pytest.raises(BackupError) as caught:
        ask_until_refused()
    assert (caught.value.reason, caught.value.code) == ("BackupInProgress", Exit.BACKUP_IN_PROGRESS)
    _take_in_the_end(place, place.command(shared=str(place.claim)))


@contextmanager
def tmpfs(path: Path, options: str) -> Iterator[None]:
    """Mount a small file system; skip the test where that may not be."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"root may not mount here: {done.stderr.decode()}")
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_full_volume_is_named_so_and_the_space_is_given_back(place: Place, tmp_path: Path) -> None:
    """The volume of the claim, that of the agent, which the master fills, and that of the journal."""
    with place.agent() as agent:
        with tmpfs(place.claim, "size=32k"):
            code, result = place.job(place.command(agent))
            assert (code, result.reason) == (Exit.NO_SPACE, "NoSpace")
            assert "volume of the backup" in result.message
            assert place.files() == set()
        facts = place.taken(place.command(agent))
    with tmpfs(place.journal, "size=32k"):
        code, result = place.job(StageRestore("owner", DIRECTORY, HASH))
        assert (code, result.reason) == (Exit.NO_SPACE, "NoSpace")
        assert "journal" in result.message
        assert sorted(path.name for path in place.journal.rglob("*")) == ["log", "owner.json", "restore"]
    assert place.taken(place.command(shared=str(place.claim))) == facts
    place.job(DeleteBackup(DIRECTORY))
    with tmpfs(place.claim, "size=32k"):
        code, result = place.job(place.command(shared=str(place.claim)))
        assert (code, result.reason) == (Exit.NO_SPACE, "NoSpace"), result
        assert "master writes" in result.message
        assert place.files() == set()


def test_a_read_only_volume_is_named_so(place: Place) -> None:
    """For writing; reading a backup needs no more."""
    facts = place.taken(place.command(shared=str(place.claim)))
    read_only = Place(place.claim.parent / "read-only", place.alluxio)
    with tmpfs(read_only.claim, "ro"):
        for command in (read_only.command(shared=str(read_only.claim)), read_only.command("http://127.0.0.1:1")):
            code, result = read_only.job(command)
            assert (code, result.reason) == (Exit.READ_ONLY_VOLUME, "ReadOnlyVolume")
    assert place.job(VerifyBackup(DIRECTORY))[1].backup == facts


@pytest.mark.parametrize("way", ["agent", "shared"])
def test_a_job_that_is_killed_at_a_random_moment_is_followed_by_one_that_ends_well(place: Place, way: str) -> None:
    """No half backup is ever under its name, and nothing is left in the end, wherever SIGKILL or SIGTERM hits."""
    rng = random.Random(way)
    with place.agent() as agent:
        command = place.command(agent) if way == "agent" else place.command(shared=str(place.claim))
        begin = time.monotonic()
        place.taken(command)
        usual = time.monotonic() - begin
        place.job(DeleteBackup(DIRECTORY))
        for number in range(6):
            end = signal.SIGTERM if number == 0 else signal.SIGKILL
            job = subprocess.Popen(place.argv(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                job.wait(rng.uniform(0.2, 1.1) * usual)
            except subprocess.TimeoutExpired:
                job.send_signal(end)
            code = job.wait(_SECONDS)
            if (place.claim / DIRECTORY).exists():
                assert place.job(VerifyBackup(DIRECTORY))[0] is Exit.COMPLETE
            assert code != Exit.TERMINATED or not (place.claim / PARTIAL).exists()
            _take_in_the_end(place, command)
            assert {name for name in place.files() if name.startswith("claim/")} == WHOLE
            assert place.job(DeleteBackup(DIRECTORY))[0] is Exit.COMPLETE
        place.taken(command)  # which removes what a master still wrote for a Job that was gone
        assert place.files() == WHOLE


def _take_in_the_end(place: Place, command: TakeBackup) -> None:
    """Try again while the master still writes what the killed Job had asked for."""
    deadline = time.monotonic() + _SECONDS
    while True:
        code, result = place.job(command)
        if code is Exit.COMPLETE:
            return
        assert code is Exit.BACKUP_IN_PROGRESS, result
        assert time.monotonic() < deadline


def test_a_master_that_restarts_while_it_writes_is_noticed(tmp_path: Path, real_programs: None, storage: Path) -> None:
    """The state of a backup is in the master's memory: what it has forgotten was not finished."""
    with Alluxio(storage / "outer") as alluxio:
        alluxio.cli("fs", "ls", "-R", "/")
        place = Place(tmp_path, alluxio)
        command = place.command(shared=str(place.claim))
        with subprocess.Popen(place.argv(command), stdout=subprocess.PIPE, text=True) as job:
            deadline = time.monotonic() + _SECONDS
            while not list(place.claim.rglob("alluxio-backup-*")) and job.poll() is None:
                assert time.monotonic() < deadline
            alluxio.kill()
            alluxio.restart()
            result = Result.from_json(job.communicate(timeout=_SECONDS)[0].splitlines()[-1])
        if result.reason != "Complete":  # it was faster than the kill
            assert (result.reason, job.returncode) == ("MasterChanged", Exit.MASTER_CHANGED)
            assert place.files() == set()


def test_one_thousand_random_corruptions_of_a_backup_are_refused(tmp_path: Path) -> None:
    """With the pin of the DataBackup all; without, all but words that nothing in the file can contradict."""
    wrong = [(number, each.what) for number, each in enumerate(corruptions(tmp_path, 2026, 1_000)) if accepted(each)]
    assert wrong == []
