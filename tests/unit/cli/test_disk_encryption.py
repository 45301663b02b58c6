"""Whether a disk is encrypted, on folders laid out as Linux lays out /sys/dev/block (sysfs)."""

import os

import pytest
from oncoresponse.cli.disk_encryption import encryption_of


def device(folder, uuid: str = "", below=()):
    """A block device of sysfs: its device-mapper UUID, and what it is made of."""
    (folder / "slaves").mkdir(parents=True)
    if uuid:
        (folder / "dm").mkdir()
        (folder / "dm" / "uuid").write_text(f"{uuid}\n")
    for path in below:
        (folder / "slaves" / path.name).symlink_to(path)
    return folder


@pytest.mark.parametrize(
    ("layers", "encrypted"),
    [
        (("CRYPT-LUKS2-abc",), True),
        (("LVM-abc", "CRYPT-LUKS2-abc"), True),
        (("LVM-abc",), None),
        (("",), None),
    ],
)
def test_what_is_below_a_folder(tmp_path, layers, encrypted):
    number = tmp_path.stat().st_dev
    below = [device(tmp_path / "disk")]
    for position, uuid in enumerate(reversed(layers[1:])):
        below = [device(tmp_path / f"layer-{position}", uuid, below)]
    device(tmp_path / f"{os.major(number)}:{os.minor(number)}", layers[0], below)
    assert encryption_of(tmp_path, tmp_path) is encrypted


def test_one_plain_disk_of_two_is_not_encrypted_and_an_unknown_one_cannot_be_told(tmp_path):
    number = tmp_path.stat().st_dev
    assert encryption_of(tmp_path, tmp_path / "nothing") is None
    disks = [device(tmp_path / "plain"), device(tmp_path / "crypt", "CRYPT-LUKS2-x")]
    device(tmp_path / f"{os.major(number)}:{os.minor(number)}", "LVM-y", disks)
    assert encryption_of(tmp_path, tmp_path) is None
