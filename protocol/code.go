package protocol

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/packnback/packnback/repo/object"
)

// Error says that a request failed, or with number 0 that the connection ends
// (0x83).
type Error struct {
	Number  uint32
	Code    object.Code
	Detail  string // one line for people
	More    bool   // ids are missing beyond those listed
	Missing []object.ID
}

// Type returns TypeError.
func (*Error) Type() Type { return TypeError }

// Append appends the payload. UnmarshalError is its inverse.
func (m *Error) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Number)
	dst = binary.BigEndian.AppendUint16(dst, uint16(m.Code))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(m.Detail)))
	dst = append(dst, m.Detail...)
	dst = appendFlag(dst, m.More)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(m.Missing)))
	return appendIDs(dst, m.Missing)
}

// UnmarshalError reads an Error's payload.
func UnmarshalError(b []byte) (*Error, error) {
	d := decoder{b: b}
	m := &Error{Number: d.uint32(), Code: object.Code(d.uint16())}
	detail := d.take(int(d.uint16()))
	d.require(len(detail) <= MaxDetail && utf8.Valid(detail), "bad detail")
	m.Detail = string(detail)
	m.More = d.flag()
	n := d.uint32()
	d.require(n <= object.MaxMissing, "too many missing ids")
	d.require(m.Code == object.CodeMissing || (n == 0 && !m.More), "missing ids with another code")
	if d.bad == "" {
		ids := d.take(int(n) * object.IDSize)
		if d.bad == "" {
			m.Missing = object.ParseRefs(ids, int(n))
		}
	}
	return m, d.end(TypeError)
}

// NewError describes err, which request number met, for the other side.
func NewError(number uint32, err error) *Error {
	m := &Error{Number: number, Code: object.CodeOf(err), Detail: OneLine(err.Error())}
	var missing *object.MissingError
	if m.Code == object.CodeMissing && errors.As(err, &missing) {
		m.More = missing.More || len(missing.IDs) > object.MaxMissing
		m.Missing = missing.IDs[:min(len(missing.IDs), object.MaxMissing)]
	}
	return m
}

// Err returns the error that m describes: a *object.MissingError where ids are
// listed, a *object.StoreError otherwise. Its text is fit for a terminal.
func (m *Error) Err() error {
	if len(m.Missing) > 0 {
		return &object.MissingError{IDs: m.Missing, More: m.More}
	}
	detail := OneLine(m.Detail)
	if detail == "" {
		detail = m.Code.Error()
	}
	return &object.StoreError{Code: m.Code, Detail: detail}
}

// OneLine makes s fit for an error's detail and for a terminal: one line of at
// most MaxDetail bytes of printable UTF-8.
func OneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
	for len(s) > MaxDetail {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return strings.TrimSpace(s)
}
