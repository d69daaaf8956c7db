package transport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// systemKnownHosts is what an administrator has vouched for.
const systemKnownHosts = "/etc/ssh/ssh_known_hosts"

// knownHosts decides about the host key of one connection.
type knownHosts struct {
	db       *knownhosts.HostKeyDB
	file     string // where a key that the user vouches for goes; empty: nowhere
	ask      func(question string, secret bool) (string, error)
	accepted bool
}

// openKnownHosts reads the known_hosts files of the user and the system.
func openKnownHosts(s *settings) (*knownHosts, error) {
	k := &knownHosts{ask: s.ask}
	files := []string{systemKnownHosts}
	if s.home != "" {
		k.file = filepath.Join(s.home, ".ssh", "known_hosts")
		files = append(files, k.file)
	}
	var there []string
	for _, f := range files {
		if _, err := os.Stat(f); err == nil {
			there = append(there, f)
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("reading known host keys: %w", err)
		}
	}
	var err error
	if k.db, err = knownhosts.NewDB(there...); err != nil {
		return nil, fmt.Errorf("reading known host keys: %w", err)
	}
	return k, nil
}

// algorithms returns the algorithms of the keys that are known of a host, so
// that it shows one of those and not another kind.
func (k *knownHosts) algorithms(hostPort string) []string { return k.db.HostKeyAlgorithms(hostPort) }

// check is the callback for a host's key.
func (k *knownHosts) check(hostPort string, remote net.Addr, key ssh.PublicKey) error {
	host, _, _ := net.SplitHostPort(hostPort)
	err := k.db.HostKeyCallback()(hostPort, remote, key)
	switch {
	case err == nil:
		k.accepted = true
		return nil
	case knownhosts.IsHostKeyChanged(err):
		return &Error{Problem: HostKeyChanged, Host: host, Detail: "it now shows " + ssh.FingerprintSHA256(key)}
	case !knownhosts.IsHostUnknown(err):
		return fmt.Errorf("checking the host key of %s: %w", host, err)
	}
	unknown := &Error{Problem: HostKeyUnknown, Host: host, Detail: fmt.Sprintf("its fingerprint is %s (%s)", ssh.FingerprintSHA256(key), key.Type())}
	if k.ask == nil || k.file == "" {
		return unknown
	}
	answer, err := k.ask(fmt.Sprintf("The host key of %s is not known. Its fingerprint is %s (%s).\nIs that right? Type yes to connect and remember it: ",
		host, ssh.FingerprintSHA256(key), key.Type()), false)
	if err != nil || strings.TrimSpace(answer) != "yes" {
		return unknown
	}
	k.accepted = true
	return k.remember(hostPort, remote, key)
}

// remember adds a key to the user's file.
func (k *knownHosts) remember(hostPort string, remote net.Addr, key ssh.PublicKey) error {
	if err := os.MkdirAll(filepath.Dir(k.file), 0o700); err != nil {
		return fmt.Errorf("remembering a host key: %w", err)
	}
	f, err := os.OpenFile(k.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("remembering a host key: %w", err)
	}
	err = knownhosts.WriteKnownHost(f, hostPort, remote, key)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("remembering a host key in %q: %w", k.file, err)
	}
	return nil
}
