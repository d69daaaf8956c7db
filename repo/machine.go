package repo

import (
	"bytes"
	"crypto/sha256"
	"os"

	"github.com/packnback/packnback/repo/object"
)

// machineFiles are where a machine's id stands, best first. The boot id tells
// machines apart as well, only not for longer than until the next boot.
var machineFiles = []string{"/etc/machine-id", "/var/lib/dbus/machine-id", "/proc/sys/kernel/random/boot_id", "/etc/hostid"}

// thisMachine returns the id of the machine that this process runs on.
func thisMachine() (machineID, error) {
	for _, name := range machineFiles {
		b, err := os.ReadFile(name)
		if b = bytes.TrimSpace(b); err == nil && len(b) > 0 {
			return hashMachine(b), nil
		}
	}
	host, err := os.Hostname()
	if err != nil {
		return machineID{}, object.CodeUnsafeLock.Errorf("this machine has no id that locks could be told apart by: %w", err)
	}
	return hashMachine([]byte(host)), nil
}

// hashMachine hides the machine's id, which machine-id(5) asks not to publish.
func hashMachine(id []byte) machineID {
	sum := sha256.Sum256(append([]byte("packnback machine v1\n"), id...))
	return machineID(sum[:16])
}
