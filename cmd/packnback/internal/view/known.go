package view

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/packnback/packnback/repo/object"
)

const knownHeader = "packnback known_clients v1"

// Limits of a known_clients file.
const (
	maxKnownFile  = 64 << 20 // far above what a store of ten thousand clients needs
	maxKnownLine  = 512
	maxKnownLines = 1 << 18
)

// ErrKnown is wrapped by the errors of ParseKnown.
var ErrKnown = errors.New("malformed known_clients")

// SigningKey is the public half of the Ed25519 key a sender signs with.
type SigningKey [ed25519.PublicKeySize]byte

// String returns the 64 lower-case hex digits of k.
func (k SigningKey) String() string { return hex.EncodeToString(k[:]) }

// KnownKey pins one signing key of a client.
type KnownKey struct {
	Repository object.RepositoryID // zero: in every repository
	Client     string
	Key        SigningKey
	Trusted    bool // pinned by a person (trust), not taken at first sight
}

// KnownHead is the newest snapshot of a chain that this machine has verified.
type KnownHead struct {
	Repository  object.RepositoryID
	Client, Job string
	Seq         uint64
	Snapshot    object.ID
}

// Known is what a restorer remembers about senders: the content of the
// known_clients file. Not safe for concurrent use.
type Known struct {
	Keys  []KnownKey
	Heads []KnownHead
}

// KeysOf returns the keys pinned for client in repository repo.
func (k *Known) KeysOf(repo object.RepositoryID, client string) []KnownKey {
	var keys []KnownKey
	for _, key := range k.Keys {
		if key.Client == client && (key.Repository == repo || key.Repository == object.RepositoryID{}) {
			keys = append(keys, key)
		}
	}
	return keys
}

// Pin adds key, or makes the entry that is there trusted.
func (k *Known) Pin(key KnownKey) {
	for i := range k.Keys {
		e := &k.Keys[i]
		if e.Repository == key.Repository && e.Client == key.Client && e.Key == key.Key {
			e.Trusted = e.Trusted || key.Trusted
			return
		}
	}
	k.Keys = append(k.Keys, key)
}

// Head returns the newest verified snapshot of a chain and whether there is one.
func (k *Known) Head(repo object.RepositoryID, client, job string) (KnownHead, bool) {
	for _, h := range k.Heads {
		if h.Repository == repo && h.Client == client && h.Job == job {
			return h, true
		}
	}
	return KnownHead{}, false
}

// Remember records head as the newest verified snapshot of its chain, unless
// a newer one is recorded already.
func (k *Known) Remember(head KnownHead) {
	for i := range k.Heads {
		h := &k.Heads[i]
		if h.Repository == head.Repository && h.Client == head.Client && h.Job == head.Job {
			if head.Seq >= h.Seq {
				*h = head
			}
			return
		}
	}
	k.Heads = append(k.Heads, head)
}

// Append appends the text of k, sorted. ParseKnown is its inverse.
func (k *Known) Append(dst []byte) []byte {
	lines := make([]string, 0, len(k.Keys)+len(k.Heads))
	for _, e := range k.Keys {
		repo, how := "*", "first-use"
		if e.Repository != (object.RepositoryID{}) {
			repo = e.Repository.String()
		}
		if e.Trusted {
			how = "trusted"
		}
		lines = append(lines, fmt.Sprintf("key %s %s %s %s\n", repo, e.Client, e.Key, how))
	}
	for _, h := range k.Heads {
		lines = append(lines, fmt.Sprintf("seen %s %s %s %d %s\n", h.Repository, h.Client, h.Job, h.Seq, h.Snapshot))
	}
	slices.Sort(lines)
	dst = append(dst, knownHeader+"\n"...)
	for _, l := range lines {
		dst = append(dst, l...)
	}
	return dst
}

// ParseKnown reads a known_clients file. Empty lines and lines that begin with
// # are skipped; everything else it does not know is refused, because a pin
// that is silently lost is worse than an error.
func ParseKnown(text []byte) (*Known, error) {
	if len(text) > maxKnownFile {
		return nil, fmt.Errorf("%w: %d bytes, limit is %d", ErrKnown, len(text), maxKnownFile)
	}
	sc := bufio.NewScanner(bytes.NewReader(text))
	sc.Buffer(make([]byte, maxKnownLine), maxKnownLine)
	if !sc.Scan() || sc.Text() != knownHeader {
		return nil, fmt.Errorf("%w: does not begin with the line %q", ErrKnown, knownHeader)
	}
	k := new(Known)
	n := 1
	for sc.Scan() {
		if n++; n > maxKnownLines {
			return nil, fmt.Errorf("%w: more than %d lines", ErrKnown, maxKnownLines)
		}
		line := sc.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		if err := k.parseLine(strings.Split(line, " ")); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrKnown, n, err)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%w: line %d: %w", ErrKnown, n+1, err)
	}
	return k, k.checkUnique()
}

func (k *Known) parseLine(f []string) error {
	switch {
	case f[0] == "key" && len(f) == 5:
		e := KnownKey{Client: f[2], Trusted: f[4] == "trusted"}
		if f[4] != "trusted" && f[4] != "first-use" {
			return fmt.Errorf("%q is neither \"trusted\" nor \"first-use\"", f[4])
		}
		if f[1] != "*" {
			if err := parseHex(e.Repository[:], "repository id", f[1]); err != nil {
				return err
			}
		}
		k.Keys = append(k.Keys, e)
		return cmp.Or(object.CheckName("client", f[2]), parseHex(k.Keys[len(k.Keys)-1].Key[:], "signing key", f[3]))
	case f[0] == "seen" && len(f) == 6:
		h := KnownHead{Client: f[2], Job: f[3]}
		var err error
		if h.Seq, err = strconv.ParseUint(f[4], 10, 64); err != nil || h.Seq == 0 || strconv.FormatUint(h.Seq, 10) != f[4] {
			return fmt.Errorf("%q is not a sequence number", f[4])
		}
		if h.Snapshot, err = object.ParseID(f[5]); err != nil {
			return err
		}
		k.Heads = append(k.Heads, h)
		return cmp.Or(parseHex(k.Heads[len(k.Heads)-1].Repository[:], "repository id", f[1]),
			object.CheckName("client", f[2]), object.CheckName("job", f[3]))
	}
	return fmt.Errorf("begins with %q and has %d words", f[0], len(f))
}

// parseHex fills dst from lower-case hex digits; all zero is refused, because
// it names nothing.
func parseHex(dst []byte, what, s string) error {
	if len(s) != 2*len(dst) {
		return fmt.Errorf("%s %q: want %d hex digits", what, s, 2*len(dst))
	}
	if _, err := hex.Decode(dst, []byte(s)); err != nil || hex.EncodeToString(dst) != s {
		return fmt.Errorf("%s %q: want lower-case hex digits", what, s)
	}
	if len(bytes.Trim(dst, "\x00")) == 0 {
		return fmt.Errorf("%s %q: is zero", what, s)
	}
	return nil
}

// checkUnique refuses two lines about the same thing: one would be ignored.
func (k *Known) checkUnique() error {
	type chain struct {
		repo        object.RepositoryID
		client, job string
		key         SigningKey
	}
	seen := make(map[chain]bool, len(k.Keys)+len(k.Heads))
	for _, e := range k.Keys {
		c := chain{repo: e.Repository, client: e.Client, key: e.Key}
		if seen[c] {
			return fmt.Errorf("%w: key %s of %q appears twice", ErrKnown, e.Key, e.Client)
		}
		seen[c] = true
	}
	for _, h := range k.Heads {
		c := chain{repo: h.Repository, client: h.Client, job: h.Job}
		if seen[c] {
			return fmt.Errorf("%w: %s/%s appears twice", ErrKnown, h.Client, h.Job)
		}
		seen[c] = true
	}
	return nil
}
