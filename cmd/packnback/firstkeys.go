package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/packnback/packnback/cmd/packnback/internal/ui"
	"github.com/packnback/packnback/crypto"
	"github.com/packnback/packnback/repo/object"
)

// firstKeys makes the default send key where there is none, and a restore key
// for it to seal to unless there is one, or its public part, already. It never
// overwrites anything. It reports whether it has made a restore key, and told
// the user where.
func (p *program) firstKeys(ctx context.Context) (told bool, err error) {
	if path, err := p.sendKeyPath(); err != nil || path != "" {
		return false, err
	}
	send, err := p.defaultKey("send.key")
	if err != nil {
		return false, err
	}
	if _, err := makePrivate(filepath.Dir(send)); err != nil {
		return false, fmt.Errorf("making the folder for keys: %w", err)
	}
	to, told, err := p.firstRecipient(ctx)
	if err != nil {
		return false, err
	}
	return told, p.firstSendKey(send, to)
}

func (p *program) firstSendKey(send string, to crypto.Recipient) error {
	client, err := p.defaultClient()
	if err != nil {
		return err
	}
	k, err := crypto.GenerateSendKey(client, []crypto.Recipient{to})
	if err != nil {
		return err
	}
	sender := k.Sender()
	if err := writeKeyPair(send, k.Append(nil), sender.Append(nil)); err != nil {
		return err
	}
	p.ui.Remarkf("made send key %s for client %s, signing fingerprint %s", ui.Quote(send), client, sender.Fingerprint())
	return nil
}

// firstRecipient returns whom the first send key seals to: the user's restore
// key, which is made if there is neither it nor its public part.
func (p *program) firstRecipient(ctx context.Context) (to crypto.Recipient, told bool, err error) {
	restore, err := p.defaultKey("restore.key")
	if err != nil {
		return to, false, err
	}
	public := restore + ".pub"
	if found, err := exists(public); err != nil {
		return to, false, err
	} else if found {
		to, err = readRecipient(public)
		return to, false, err
	}
	if found, err := exists(restore); err != nil {
		return to, false, err
	} else if found {
		text, err := p.keyText(ctx, restore)
		if err != nil {
			return to, false, err
		}
		k, err := crypto.ParseReadKey(text)
		if err != nil {
			return to, false, keyFault(restore, err)
		}
		return k.Recipient(), false, nil
	}
	k, err := crypto.GenerateReadKey(crypto.ForRestore)
	if err != nil {
		return to, false, err
	}
	if err := writeKeyPair(restore, k.Append(nil), k.Recipient().AppendText(nil)); err != nil {
		return to, false, err
	}
	p.ui.Remarkf("made restore key %s", ui.Quote(restore))
	p.ui.Remarkf("")
	p.ui.Remarkf("Whoever has the restore key can read the backups, and without it nobody can.")
	p.ui.Remarkf("Copy it to two safe places, then remove it from this machine:")
	p.ui.Remarkf("  %s", ui.ShellWord(restore))
	p.ui.Remarkf("")
	return k.Recipient(), !p.ui.Quiet && !p.ui.JSON, nil
}

// writeKeyPair writes a secret key and, beside it, its public part. The secret
// one comes first: a public part without it would be sealed to.
func writeKeyPair(name string, secret, public []byte) error {
	if err := crypto.WriteKeyFile(name, secret, true); err != nil {
		return err
	}
	return crypto.WriteKeyFile(name+".pub", public, false)
}

// defaultClient is the client's name when none is given: the host's, with what
// names can't hold replaced.
func (p *program) defaultClient() (string, error) {
	host, err := p.env.Hostname()
	if err != nil {
		return "", fmt.Errorf("asking for the host's name: %w", err)
	}
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789._-", r) {
			return r
		}
		return '-'
	}, strings.ToLower(host))
	name = name[:min(len(name), object.MaxName)]
	if err := object.CheckName("client", name); err != nil {
		return "", withHint(err, "packnback key send --client NAME --to RESTORE.pub -o FILE")
	}
	return name, nil
}

// warnRestoreKey warns of restore and list keys that lie where a sender keeps
// its own: whoever takes over the machine reads the backups with them.
func (p *program) warnRestoreKey(sendKey string) {
	folders := []string{filepath.Dir(sendKey)}
	if own, err := p.defaultKey("restore.key"); err == nil && filepath.Dir(own) != folders[0] {
		folders = append(folders, filepath.Dir(own))
	}
	for _, dir := range folders {
		names, err := filepath.Glob(filepath.Join(globQuote(dir), "*.key"))
		if err != nil {
			continue // only a malformed pattern, which globQuote prevents
		}
		for _, name := range names {
			if text, err := crypto.ReadKeyFile(name); err == nil || errors.Is(err, crypto.ErrKeyMode) {
				p.warnOfKind(name, crypto.Identify(text))
			} else if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
				p.warnf("%v", err)
			}
		}
	}
}

func (p *program) warnOfKind(name string, kind crypto.TextKind) {
	switch kind {
	case crypto.TextRestoreKey, crypto.TextPaper, crypto.TextListKey:
		what := "read the backups"
		if kind == crypto.TextListKey {
			what = "see the names of everything in the backups"
		}
		p.warnf("%s is %s: whoever takes over this machine can %s with it", ui.Quote(name), kind, what)
		p.hintf("copy it to a safe place, then remove it here: %s", ui.ShellWord(name))
	case crypto.TextEncrypted:
		p.warnf("%s is an encrypted key: on a machine that is taken over its passphrase can be watched", ui.Quote(name))
		p.hintf("keep it on another machine if it is the restore key: %s", ui.ShellWord(name))
	}
}

// globQuote makes every character of a folder's name stand for itself.
func globQuote(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
