package object

import (
	"errors"
	"fmt"
)

// Code numbers the ways in which a store says no. The numbers go over the wire
// (packnback-protocol(7)) and never change meaning; retired ones stay listed.
type Code uint16

// The codes. Do not reorder.
const (
	CodeInternal    Code = 1  // the store failed in a way that is not the caller's doing
	CodeNoRepo      Code = 2  // there is no repository at that place
	CodeBusy        Code = 3  // a lock or a session slot is taken
	CodeUnsafeLock  Code = 4  // the file system or another machine makes locking unsafe
	CodeDenied      Code = 5  // the connection's mode, client or job does not permit it
	CodeQuota       Code = 6  // the upload would exceed the client's quota
	CodeNoSpace     Code = 7  // the store's disk is at its min-free mark or full
	CodeHeadMoved   Code = 8  // another upload of the same job was committed meanwhile
	CodeMissing     Code = 9  // the upload relies on objects the store does not have for it; see MissingError
	CodeDamaged     Code = 10 // something in the repository is not what it should be
	CodeMalformed   Code = 11 // a message, object or manifest breaks the format
	CodeNotFound    Code = 12 // no snapshot or object of that id
	CodeVersion     Code = 13 // a format or protocol version this program does not know
	CodeClock       Code = 14 // the store's clock can't be trusted for this
	CodeBraked      Code = 15 // refused by min-age, an unusual snapshot or the deletion share
	CodeExists      Code = 16 // it is there already
	CodeInvalid     Code = 17 // an argument makes no sense
	CodeInterrupted Code = 18 // the store is shutting down or the peer went away
)

// StoreError is a store's refusal or failure. It crosses the wire unchanged,
// so a caller that branches does so the same way for a local repository and a
// remote one: errors.Is(err, CodeQuota).
type StoreError struct {
	Code   Code
	Detail string // one line for people: what, where, what to do
}

// Error returns the detail.
func (e *StoreError) Error() string { return e.Detail }

// Is makes errors.Is(err, someCode) true for a StoreError of that code.
func (e *StoreError) Is(target error) bool {
	c, ok := target.(Code)
	return ok && c == e.Code
}

// Error makes a Code usable as the target of errors.Is. The text is only seen
// when a store gave none of its own.
func (c Code) Error() string {
	if s, ok := codeTexts[c]; ok {
		return s
	}
	return fmt.Sprintf("store error %d", uint16(c))
}

var codeTexts = map[Code]string{
	CodeInternal:    "internal error of the store",
	CodeNoRepo:      "no repository there",
	CodeBusy:        "repository busy",
	CodeUnsafeLock:  "repository can't be locked safely",
	CodeDenied:      "not permitted",
	CodeQuota:       "over quota",
	CodeNoSpace:     "not enough free space on the store",
	CodeHeadMoved:   "another backup of this job was committed meanwhile",
	CodeMissing:     "objects missing",
	CodeDamaged:     "repository is damaged",
	CodeMalformed:   "malformed data",
	CodeNotFound:    "not found",
	CodeVersion:     "unknown version",
	CodeClock:       "the store's clock can't be trusted",
	CodeBraked:      "refused by the retention brake",
	CodeExists:      "already exists",
	CodeInvalid:     "invalid argument",
	CodeInterrupted: "interrupted",
}

// Errorf returns a StoreError of code c. A %w operand is only formatted.
func (c Code) Errorf(format string, args ...any) *StoreError {
	return &StoreError{Code: c, Detail: fmt.Errorf(format, args...).Error()}
}

// CodeOf returns the code of the first StoreError, MissingError or Code in
// err's tree, and CodeInternal where there is none.
func CodeOf(err error) Code {
	var se *StoreError
	if errors.As(err, &se) {
		return se.Code
	}
	var me *MissingError
	if errors.As(err, &me) {
		return CodeMissing
	}
	var c Code
	if errors.As(err, &c) {
		return c
	}
	return CodeInternal
}

// MaxMissing is the largest number of ids a MissingError lists.
const MaxMissing = 4096

// MissingError refuses a commit whose closure has holes: ids that are neither
// in the upload nor visible to its client and job. More says that there are
// further ones beyond the MaxMissing listed; the sender then goes cold.
type MissingError struct {
	IDs  []ID
	More bool
}

// Error counts the missing objects.
func (e *MissingError) Error() string {
	if e.More {
		return fmt.Sprintf("the store lacks more than %d objects this snapshot relies on", len(e.IDs))
	}
	return fmt.Sprintf("the store lacks %d objects this snapshot relies on", len(e.IDs))
}

// Is makes errors.Is(err, CodeMissing) true.
func (e *MissingError) Is(target error) bool { return target == CodeMissing }
