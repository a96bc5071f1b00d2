"""The disk: partitions, boot loaders for BIOS and UEFI, and the file system of slot A, in one plain file, without loop devices."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from appliance import durable
from tools import inside, remove

MIB = 1 << 20
SECTOR = 512
CORE = 1 * MIB  # where the BIOS boot partition begins
ESP = 2 * MIB
ESP_SIZE = 256 * MIB
SLOT = ESP + ESP_SIZE
BIOS_TYPE = "21686148-6449-6E6F-744E-656564454649"
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
ROOT_TYPE = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"  # of x86-64, as systemd-repart knows it
DISK_ID = "9f0c2a6e-7a34-4c58-8d0e-64706561706c"
ROOT_ID = "5d9d3bfa-5d7b-4a7e-9d0b-647065726f6f"
ESP_ID = "64706565"
# All that our grub.cfg uses; there is no folder of modules to load others from.
BIOS_MODULES = [
    "biosdisk",
    "part_gpt",
    "fat",
    "ext2",
    "normal",
    "configfile",
    "linux",
    "loadenv",
    "test",
    "regexp",
    "echo",
    "minicmd",
    "serial",
    "terminal",
    "reboot",
    "halt",
    "sleep",
]
SHIM = {
    "BOOTX64.EFI": "usr/lib/shim/shimx64.efi.signed",
    "mmx64.efi": "usr/lib/shim/mmx64.efi.signed",
    "grubx64.efi": "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
}
# Features that GRUB and RAUC can do without; nothing is ever written here, so no journal.
FEATURES = "^has_journal,^resize_inode,^orphan_file,^metadata_csum_seed,^dir_index"


@dataclass(frozen=True)
class Maker:
    """Where a disk is made: the tools' tree, the build folder that it sees at /build, and the moment that all files say they are from."""

    tools: Path
    build: Path
    epoch: int

    def run(self, *command: str) -> str:
        return inside(self.tools, command, build=self.build, env={"SOURCE_DATE_EPOCH": str(self.epoch), "TZ": "UTC"})

    def there(self, path: Path) -> str:
        """The name of a file of the build folder inside the tools' tree."""
        return f"/build/{path.relative_to(self.build)}"


def file_system(maker: Maker, tree: Path, image: Path) -> None:
    """An ext4 of the tree, as large as its content, the same bytes for the same content."""
    blocks = inodes = 0
    for folder, folders, names in os.walk(tree):
        for name in (*folders, *names):
            inodes += 1
            blocks += 1 + -(-(Path(folder) / name).lstat().st_size // 4096)
    size = (blocks * 4096 * 102 // 100 + inodes * 256 + 32 * MIB) // MIB
    remove(image)
    # Through tar, which sorts, and which gives the file system no time but that of the content.
    pack = (
        'set -eu; cd "$1"; tar --create --sort=name --numeric-owner --format=posix --pax-option=delete=atime,delete=ctime'
        ' --xattrs "--xattrs-include=*" --mtime="@$SOURCE_DATE_EPOCH" --clamp-mtime --file=- .'
        ' | mke2fs -q -t ext4 -b 4096 -m 0 -L dpe-root -U "$2" -O "$3" -N "$4"'
        ' -E "hash_seed=$2,lazy_itable_init=0,root_owner=0:0,nodiscard" -d - "$5" "$6M"'
    )
    maker.run("sh", "-c", pack, "sh", maker.there(tree), ROOT_ID, FEATURES, str(inodes + 64), maker.there(image), str(size))


def grubenv(values: dict[str, str]) -> bytes:
    """GRUB's environment block: a kibibyte, changed in place."""
    text = "# GRUB Environment Block\n" + "".join(f"{name}={value}\n" for name, value in values.items())
    return text.encode().ljust(1024, b"#")


def esp(maker: Maker, work: Path, config: Path) -> Path:
    """The EFI system partition: signed shim and GRUB for UEFI, and what both kinds of GRUB read."""
    image = work / "esp.img"
    remove(image)
    with image.open("wb") as file:
        file.truncate(ESP_SIZE)
    content = work / "esp"
    remove(content)
    for folder in ("EFI/BOOT", "EFI/debian"):
        (content / folder).mkdir(parents=True)
    for name, source in SHIM.items():
        (content / "EFI/BOOT" / name).write_bytes((maker.tools / source).read_bytes())
    (content / "EFI/debian/grub.cfg").write_bytes(config.read_bytes())
    maker.run("grub-script-check", f"{maker.there(content)}/EFI/debian/grub.cfg")
    first = {"ORDER": "A B", "A_OK": "1", "A_TRY": "0", "B_OK": "0", "B_TRY": "0"}
    (content / "EFI/debian/grubenv").write_bytes(grubenv(first))
    for path in (*content.rglob("*"), content):
        os.utime(path, (maker.epoch, maker.epoch))
    there = maker.there(image)
    maker.run("mkfs.vfat", "--invariant", "-F", "32", "-n", "DPE-ESP", "-i", ESP_ID, there)
    maker.run("mcopy", "-s", "-m", "-i", there, f"{maker.there(content)}/EFI", "::")
    return image


def bios_core(maker: Maker, work: Path) -> bytes:
    """GRUB for BIOS, which takes its configuration from the EFI system partition of the disk that it was read from."""
    core = work / "core.img"
    maker.run("grub-mkimage", "-O", "i386-pc", "-p", "(,gpt2)/EFI/debian", "-o", maker.there(core), *BIOS_MODULES)
    return core.read_bytes()


def write_bios(maker: Maker, core: bytes, disk: Path) -> None:
    """Put GRUB into the boot sector and the BIOS boot partition, the way grub-bios-setup does, which needs a device."""
    boot = bytearray((maker.tools / "usr/lib/grub/i386-pc/boot.img").read_bytes())
    boot[0x5C:0x64] = struct.pack("<Q", CORE // SECTOR)
    boot[0x66:0x68] = b"\x90\x90"  # some firmware says that the disk is a floppy
    patched = bytearray(core.ljust(-(-len(core) // SECTOR) * SECTOR, b"\0"))
    patched[SECTOR - 12 : SECTOR - 4] = struct.pack("<Q", CORE // SECTOR + 1)  # where the rest of it goes on
    assert len(patched) <= ESP - CORE
    with disk.open("r+b") as file:
        file.write(boot[:440])
        file.seek(CORE)
        file.write(patched)


def assemble(maker: Maker, work: Path, root: Path, config: Path, disk: Path) -> None:
    """The whole disk in `disk`. Slot B and data are made by systemd-repart at first boot."""
    size = -(-root.stat().st_size // MIB) * MIB
    new = work / "disk.img"
    remove(new)
    with new.open("wb") as file:
        file.truncate(SLOT + size + MIB)
    table = [
        "label: gpt",
        f"label-id: {DISK_ID}",
        f"start={CORE // SECTOR}, size={(ESP - CORE) // SECTOR}, type={BIOS_TYPE}, name=dpe-bios, uuid={DISK_ID[:-1]}1",
        f"start={ESP // SECTOR}, size={ESP_SIZE // SECTOR}, type={ESP_TYPE}, name=dpe-esp, uuid={DISK_ID[:-1]}2",
        f"start={SLOT // SECTOR}, size={size // SECTOR}, type={ROOT_TYPE}, name=dpe-a, uuid={DISK_ID[:-1]}3",
    ]
    (work / "table").write_text("\n".join(table) + "\n")
    maker.run("sh", "-c", 'sfdisk --quiet "$1" <"$2"', "sh", maker.there(new), maker.there(work / "table"))
    write_bios(maker, bios_core(maker, work), new)
    for source, place in ((esp(maker, work, config), ESP), (root, SLOT)):
        maker.run(
            "dd",
            f"if={maker.there(source)}",
            f"of={maker.there(new)}",
            "bs=1M",
            f"seek={place // MIB}",
            "conv=notrunc,sparse",
            "status=none",
        )
    durable.replace(new, disk)
