"""A known plugin -> the release that fits this zoo-core, and its wheel, verified."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.specifiers import SpecifierSet
from packaging.version import Version

import zoo
from zoo.atomic import replacing
from zoo.catalog.dataset import Download, RemoteFile, cache_home
from zoo.catalog.registry import CORE, KnownPlugin, Release, install_command
from zoo.data.download import DownloadProgress, OnProgress, fetch, make_folder
from zoo.errors import NotFoundError, PluginError, ZooError, did_you_mean
from zoo.manifest import sha256_of

MAX_WHEEL = 2**30  # bytes


def fits(release: Release) -> bool:
    """Whether a release was made for the zoo-core that is installed."""
    return SpecifierSet(release.requires_core).contains(zoo.__version__, prereleases=True)


def newest(releases: Sequence[Release]) -> Release | None:
    """Return the highest version; one before its final release only where there is no other."""
    ordered = sorted(releases, key=lambda release: Version(release.version))
    final = [each for each in ordered if not Version(each.version).is_prerelease]
    candidates = final or ordered
    return candidates[-1] if candidates else None


def choose(plugin: KnownPlugin, version: str = "") -> Release:
    """Return the newest release that fits, or the one that is asked for.

    Raises:
        NotFoundError: there is none, or none of that version.
        PluginError: what there is was made for another zoo-core.
    """
    name = plugin.distribution
    if not plugin.releases:
        raise NotFoundError(
            f"{name} has no release yet", hint=plugin.how_to_install, code="release-not-found"
        )
    wanted = Version(version or "0")
    asked = [each for each in plugin.releases if not version or Version(each.version) == wanted]
    if not asked:
        there = [each.version for each in plugin.releases]
        raise NotFoundError(
            f"{name} has no release {version}.{did_you_mean(version, there)}",
            cause=f"the registry lists {', '.join(there[-8:])}",
            hint=f"zoo plugins install {name}",
            code="release-not-found",
        )
    chosen = newest([each for each in asked if fits(each)])
    if chosen is None:
        latest = newest(asked)
        assert latest is not None
        raise PluginError(
            f"{name} {latest.version} needs zoo-core {latest.requires_core}, "
            f"and this is {zoo.__version__}",
            hint=f"{install_command(CORE, upgrade=True)}; or another release of the plugin",
            code="incompatible-release",
        )
    return chosen


def verified_wheel(plugin: KnownPlugin, release: Release, report: OnProgress) -> Path:
    """Return the wheel in the cache, fetched if need be, with the sha256 of the registry.

    Raises:
        NotFoundError: it cannot be had, or is another file than the one that was listed.
        ZooError: it is too large, or the cache cannot be written to.
    """
    name = f"{plugin.distribution} {release.version}"
    folder = f"wheels/{plugin.distribution}"

    def limited(progress: DownloadProgress) -> None:
        _limit(max(progress.done, progress.total or 0), name)
        report(progress)

    if urlsplit(release.wheel).scheme == "file":
        path = cache_home() / folder / release.file
        _copy(plugin, release, name, path)
    else:
        file = RemoteFile(release.file, (release.wheel,), sha256=release.sha256)
        wheel = Download(name, folder, plugin.licence, (file,))
        path = fetch(wheel, report=limited) / release.file
    found = sha256_of(path)  # of the very file that is going to be installed
    if found != release.sha256:
        path.unlink()
        raise NotFoundError(
            f"the wheel of {name} is not the one that the registry lists",
            cause=f"sha256 {found[:12]}… instead of {release.sha256[:12]}…; nothing was installed",
            hint=f"tell who keeps {plugin.listed_in}",
            code="hash-mismatch",
        )
    return path


def _limit(size: int, name: str) -> None:
    if size > MAX_WHEEL:
        raise ZooError(
            f"the wheel of {name} is larger than {MAX_WHEEL} bytes", code="cannot-install"
        )


def _copy(plugin: KnownPlugin, release: Release, name: str, path: Path) -> None:
    """Copy a wheel of this machine, so that it cannot change between check and installation."""
    source = Path(url2pathname(urlsplit(release.wheel).path))
    make_folder(path.parent)
    if not source.is_file():
        raise NotFoundError(
            f"the wheel of {name} is not there: {source}",
            cause=f"{plugin.listed_in} names it",
            hint="put it there, or correct the registry",
            code="release-not-found",
        )
    _limit(source.stat().st_size, name)
    with replacing(path) as temporary:
        shutil.copyfile(source, temporary)
