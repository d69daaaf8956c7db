package crypto

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
)

// Group is what the members of a dedup group share: a dedup secret and the
// recipients. Its file is as secret as a send key.
type Group struct {
	recipients recipientSet
	dedup      [KeySize]byte
}

// GenerateGroup makes a dedup group with a new secret that seals to recipients.
func GenerateGroup(recipients []Recipient) (*Group, error) {
	set, err := newRecipientSet(recipients)
	if err != nil {
		return nil, fmt.Errorf("dedup group: %w", err)
	}
	g := &Group{recipients: set}
	rand.Read(g.dedup[:])
	return g, nil
}

// SealsTo reports whether the group's recipients are exactly these.
func (g *Group) SealsTo(recipients []Recipient) bool {
	set, err := newRecipientSet(recipients)
	return err == nil && set.fingerprint() == g.recipients.fingerprint()
}

// Recipients returns all recipients, those for restoring first.
func (g *Group) Recipients() []Recipient { return slices.Clone(g.recipients.all()) }

// Append appends the text of g. ParseGroup is its inverse.
func (g *Group) Append(dst []byte) []byte {
	dst = append(dst, markers[TextGroup].marker...)
	dst = append(dst, '\n')
	dst = appendComment(dst,
		"Send keys made with this file share their object ids, so that the store keeps",
		"what their machines have in common once. Members must trust each other: one can",
		"plant objects that another relies on, and can test guesses about its files.",
		"Keep it readable by its owner only (mode 0600); no machine needs it to send.")
	body := g.appendBody(nil)
	return appendField(append(dst, body...), "check", textCheck(body))
}

func (g *Group) appendBody(dst []byte) []byte {
	dst = appendField(dst, "dedup-secret", hex.EncodeToString(g.dedup[:]))
	return g.recipients.appendFields(dst)
}

// ParseGroup reads the text of a dedup group file.
func ParseGroup(text []byte) (*Group, error) {
	if kind := Identify(text); kind != TextGroup {
		return nil, wrongKind("a dedup group file", kind, false)
	}
	fields, err := parseFields(text, TextGroup)
	if err != nil {
		return nil, err
	}
	r := fieldReader{what: "dedup group", fields: fields}
	g := &Group{dedup: r.key("dedup-secret")}
	g.recipients = r.recipients()
	r.check(func() []byte { return g.appendBody(nil) })
	if r.err != nil {
		return nil, r.err
	}
	return g, nil
}

// Format prints the type's name instead of its secrets.
func (g Group) Format(f fmt.State, _ rune) { redact(f, "Group") }
