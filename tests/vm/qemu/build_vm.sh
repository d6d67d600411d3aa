#!/bin/sh
# Usage: build_vm.sh SUITE DIRECTORY
#
# Unpacks a Debian that boots under QEMU: DIRECTORY/root, vmlinuz, initrd, and id_ed25519, the key of its root.
# As root; needs mmdebstrap, openssh-client and a Debian mirror.
set -eu

suite=$1
export directory="$2"

mkdir -p "$directory"
ssh-keygen -q -t ed25519 -N '' -f "$directory/id_ed25519"

base=systemd,systemd-sysv,dbus,libpam-systemd,libseccomp2,python3,python3-venv,ca-certificates,curl,iproute2,procps
vm=udev,kmod,openssh-server,initramfs-tools,zstd,linux-image-cloud-amd64

cat >"$directory/hook" <<'END'
set -eu
root=$1
echo vm >"$root/etc/hostname"
: >"$root/etc/machine-id"
rm -f "$root/etc/resolv.conf"
echo '/dev/vda / ext4 rw,relatime 0 1' >"$root/etc/fstab"
install -d -m 700 "$root/root/.ssh"
cp "$directory/id_ed25519.pub" "$root/root/.ssh/authorized_keys"
printf 'UsePAM no\nUseDNS no\n' >"$root/etc/ssh/sshd_config.d/vm.conf"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=persistent\n' >"$root/etc/systemd/journald.conf.d/vm.conf"

# The address that QEMU forwards to. Installing is done in a container, which has no eth0.
cat >"$root/etc/systemd/system/eth0.service" <<UNIT
[Unit]
ConditionVirtualization=vm
DefaultDependencies=no
Wants=network.target
Before=network.target ssh.service
[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=infinity
ExecStart=/bin/sh -c 'modprobe virtio_net; until [ -e /sys/class/net/eth0 ]; do sleep 0.1; done; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0'
[Install]
WantedBy=multi-user.target
UNIT
chroot "$root" systemctl --quiet enable eth0.service ssh.service
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer getty@tty1.service motd-news.timer; do
    ln -sfn /dev/null "$root/etc/systemd/system/$unit"
done

# Only what mounts the root: a whole initramfs takes an emulated processor seconds to unpack.
small=$root/tmp/initramfs
mkdir -p "$small/scripts" "$small/hooks" "$small/conf.d"
cp "$root/etc/initramfs-tools/initramfs.conf" "$small/"
printf 'MODULES=list\nCOMPRESS=zstd\n' >"$small/conf.d/vm"
printf 'virtio_pci\nvirtio_blk\next4\n' >"$small/modules"
kernel=$(basename "$root"/lib/modules/*)
chroot "$root" mkinitramfs -d /tmp/initramfs -o /boot/initrd.vm "$kernel"
cp "$root/boot/vmlinuz-$kernel" "$directory/vmlinuz"
mv "$root/boot/initrd.vm" "$directory/initrd"
rm -rf "$small" "$root"/boot/initrd*
END

# INITRD=No: the package would make a whole one.
INITRD=No mmdebstrap --quiet --variant=minbase --format=directory --include="$base,$vm" \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="sh $directory/hook \"\$1\"" \
    "$suite" "$directory/root"
