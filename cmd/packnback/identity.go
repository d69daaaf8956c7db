package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/packnback/packnback/cmd/packnback/internal/recipients"
	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/crypto"
)

// systemSendKey is where the send key of a machine that backs itself up is,
// when its user has none.
const systemSendKey = "/etc/packnback/send.key"

// defaultKey returns the path of a user's key file "send.key" or
// "restore.key", which need not exist.
func (p *program) defaultKey(name string) (string, error) {
	dir, err := p.env.ConfigDir()
	if err != nil {
		return "", withHint(err, "name the key with --key FILE")
	}
	return filepath.Join(dir, name), nil
}

// sendKeyPath returns where the send key is: --key, the user's or the
// machine's. Empty when there is none.
func (p *program) sendKeyPath() (string, error) {
	if p.key != "" {
		return p.key, nil
	}
	own, err := p.defaultKey("send.key")
	if err != nil {
		own = systemSendKey // a service without $HOME
	}
	for _, name := range []string{own, systemSendKey} {
		if found, err := exists(name); err != nil || found {
			return name, err
		}
	}
	return "", nil
}

// errNoSendKey says that there is no send key where one is needed.
var errNoSendKey = withStatus(statusKey, withHint(errors.New("there is no send key"),
	"name it with --key FILE, or make one: packnback key send --to RESTORE.pub -o FILE"))

// sendKey reads the send key.
func (p *program) sendKey(ctx context.Context) (*crypto.SendKey, error) {
	path, err := p.sendKeyPath()
	if err != nil {
		return nil, err
	}
	if path == "" {
		return nil, errNoSendKey
	}
	text, err := p.keyText(ctx, path)
	if err != nil {
		return nil, err
	}
	k, err := crypto.ParseSendKey(text)
	if err != nil {
		return nil, keyFault(path, err)
	}
	return k, nil
}

// errNoReadKey says that there is no key to read backups with.
var errNoReadKey = withStatus(statusKey, withHint(errors.New("there is no restore key"),
	"name the restore key, or a list key, with --key FILE"))

// readKey reads and unlocks the restore or list key. It returns errNoReadKey
// when none is named and there is no default one.
func (p *program) readKey(ctx context.Context) (*crypto.ReadKey, error) {
	path := p.key
	if path == "" {
		var err error
		if path, err = p.defaultKey("restore.key"); err != nil {
			return nil, errNoReadKey // a service without $HOME has none
		}
		if found, err := exists(path); err != nil {
			return nil, err
		} else if !found {
			return nil, errNoReadKey
		}
	}
	text, err := p.keyText(ctx, path)
	if err != nil {
		return nil, err
	}
	k, err := crypto.ParseReadKey(text)
	if err != nil {
		return nil, keyFault(path, err)
	}
	return k, nil
}

// opener returns what opens snapshots and objects, with readKey's errors.
func (p *program) opener(ctx context.Context) (*crypto.Opener, error) {
	k, err := p.readKey(ctx)
	if err != nil {
		return nil, err
	}
	o := crypto.NewOpener(k.Identities()...)
	return o, p.addRewrap(o)
}

// keyFault names the file that a key error is about, says what to do, and
// makes the exit status that of keys.
func keyFault(path string, err error) error {
	err = withStatus(statusKey, fmt.Errorf("key %s: %w", ui.Quote(path), err))
	switch {
	case errors.Is(err, crypto.ErrIsSend):
		return withHint(err, "name the restore key, or a list key, with --key FILE")
	case errors.Is(err, crypto.ErrIsReading):
		return withHint(err, "name the send key with --key FILE; packnback key send makes one for this key")
	case errors.Is(err, crypto.ErrIsPublic):
		return withHint(err, "the secret key is in the file without .pub")
	}
	return err
}

func exists(name string) (bool, error) {
	_, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// secrets is where passphrases and identities for key files come from.
func (p *program) secrets() *recipients.Source {
	return &recipients.Source{Env: p.env, PassphraseCommand: p.passphraseCommand}
}

// keyText reads a key file and unlocks it if it is encrypted.
func (p *program) keyText(ctx context.Context, path string) ([]byte, error) {
	text, err := crypto.ReadKeyFile(path)
	if err != nil {
		return nil, withStatus(statusKey, err)
	}
	text, err = p.secrets().Unlock(ctx, path, text)
	if err != nil && ctx.Err() == nil {
		return nil, withStatus(statusKey, err)
	}
	return text, err
}
