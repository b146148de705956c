"""Apache Kafka's jars, fetched once through Maven into a cache folder."""

import os
import shutil
import subprocess
from pathlib import Path

from streaming.errors import BrokerError

VERSION = "4.1.1"
_SCALA = "2.13"
_LOG4J = "2.24.3"

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>kindling</groupId>
  <artifactId>local-broker</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
{dependencies}
  </dependencies>
</project>
"""
_DEPENDENCIES = (
    ("org.apache.kafka", f"kafka_{_SCALA}", VERSION),
    ("org.apache.logging.log4j", "log4j-core", _LOG4J),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", _LOG4J),
)


def missing_tools() -> list[str]:
    """Which of the programs that a local broker needs are not installed."""
    return [tool for tool in ("java", "mvn") if shutil.which(tool) is None]


def cache_folder() -> Path:
    """Where the jars are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kindling" / f"kafka-{VERSION}"


def fetch(folder: Path | None = None) -> Path:
    """The folder of jars, fetched on the first call.

    Raises:
        BrokerError: Java or Maven is not installed, or Maven failed.
    """
    folder = folder or cache_folder()
    jars = folder / "libs"
    if jars.exists():
        return jars
    if missing := missing_tools():
        raise BrokerError(
            f"a local broker needs {' and '.join(missing)}: install Java 17 and Maven "
            "(Debian: openjdk-17-jre-headless maven), or use the embedded broker"
        )
    folder.mkdir(parents=True, exist_ok=True)
    entries = (
        f"    <dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
        f"<version>{version}</version></dependency>"
        for group, name, version in _DEPENDENCIES
    )
    (folder / "pom.xml").write_text(_POM.format(dependencies="\n".join(entries)), encoding="utf-8")
    # A fetch that was cut short must not look like a whole one: rename when it is.
    partial = folder / f"libs.{os.getpid()}.partial"
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(partial, ignore_errors=True)
        raise BrokerError(
            f"Maven could not fetch Kafka {VERSION}: {(done.stdout + done.stderr).strip()[-500:]}"
        )
    try:
        partial.rename(jars)
    except OSError:
        shutil.rmtree(partial)  # another process was first
    return jars
