import subprocess
import sys

from utils.runtime import _without_information


def test_warnings_and_errors_are_passed_on(capfd):
    with _without_information():
        subprocess.run(
            [sys.executable, "-c", "import sys; sys.stderr.write('I0000 a\\nW0000 b\\nother\\n')"],
            check=True,
        )
    assert capfd.readouterr().err == "W0000 b\nother\n"
