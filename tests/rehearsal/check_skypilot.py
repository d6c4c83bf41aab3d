"""Whether SkyPilot itself reads notebooks/cloud/skypilot.yaml as it is meant: python tests/rehearsal/check_skypilot.py FOLDER

SkyPilot has many dependencies, so it gets an environment of its own, in FOLDER (made at the first call, some minutes). No
cloud is asked, and none is needed. Prints one line; status 0 if all is well, 1 if not.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

VERSION = "0.14.1"
TASK = Path(__file__).resolve().parents[2] / "notebooks" / "cloud" / "skypilot.yaml"


def main(folder: Path) -> int:
    """Make the environment if necessary, and check the task in it."""
    python = folder / "bin" / "python"
    if not (folder / "bin" / "sky").exists():
        venv.create(folder, with_pip=True)
        install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", f"skypilot=={VERSION}"]
        if subprocess.run(install, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=1200).returncode:
            print(f"allatt: pip could not install skypilot {VERSION} into {folder}; is there a network?")
            return 1
    home = folder / "home"  # SkyPilot keeps its own state in the home folder
    home.mkdir(exist_ok=True)
    done = subprocess.run([python, __file__, "--inside"], capture_output=True, text=True, env=os.environ | {"HOME": str(home)})
    lines = [line for line in done.stdout.splitlines() if line.startswith("allatt:")]
    print(lines[-1] if lines else f"allatt: SkyPilot failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return 1 if done.returncode else 0


def inside() -> int:
    """In SkyPilot's environment: read the task, and compare what SkyPilot understood with what is meant."""
    import sky

    try:
        sky.Task.from_yaml(str(TASK))
        problems = ["a task without BUCKET is accepted"]
    except ValueError as error:
        problems = [] if "BUCKET" in str(error) else [f"without BUCKET it says: {error}"]
    for bucket in ("s3://my-bucket", "gs://my-bucket"):
        task = sky.Task.from_yaml_config(sky.utils.yaml_utils.read_yaml(str(TASK)), env_overrides=[("BUCKET", bucket)])
        mounts = {path: (storage.source, storage.mode.value) for path, storage in task.storage_mounts.items()}
        if mounts != {"/bucket": (bucket, "MOUNT")}:
            problems.append(f"the bucket is mounted as {mounts}")
    resources = list(task.resources)
    if not all(one.use_spot for one in resources):
        problems.append("it does not ask for spot machines")
    if not all(one.job_recovery and one.job_recovery.get("recover_on_exit_codes") == [143] for one in resources):
        problems.append("it does not recover from status 143")
    if task.envs["SCALE"] != "gpu" or not task.setup or not task.run or task.workdir != ".":
        problems.append("setup, run, workdir or envs are not read")
    print(f"allatt: SkyPilot {sky.__version__}: {'; '.join(problems) or f'{TASK.name} is read as it is meant'}")
    return 1 if problems else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--inside"]:
        sys.exit(inside())
    if len(sys.argv) != 2:
        sys.exit("allatt: name a folder for SkyPilot's environment: python tests/rehearsal/check_skypilot.py FOLDER")
    sys.exit(main(Path(sys.argv[1]).resolve()))
