package crypto

import "errors"

// Errors that callers branch on. They are wrapped with what was being read and
// what to do about it.
var (
	// ErrIsPublic says that a public part (FILE.pub) was given where a secret key
	// is needed.
	ErrIsPublic = errors.New("this is a public part, not a secret key")
	// ErrIsSecret says that a secret key was given where its public part is
	// needed.
	ErrIsSecret = errors.New("this is a secret key, not a public part")
	// ErrIsSend says that a send key or its public part was given where one that
	// reads is needed.
	ErrIsSend = errors.New("this is a send key, which can't read backups")
	// ErrIsReading says that a restore or list key, or its public part, was given
	// where a send key is needed.
	ErrIsReading = errors.New("this is a key that reads backups, not one that sends them")
	// ErrIsGroup says that a dedup group file was given where a key is needed.
	ErrIsGroup = errors.New("this is a dedup group file, not a key")
	// ErrEncrypted says that a key file is encrypted and must be unlocked first.
	ErrEncrypted = errors.New("this key file is encrypted")
	// ErrNotKey says that a file is none of packnback's key files.
	ErrNotKey = errors.New("this is not a packnback key")
	// ErrKeyMode says that others may read a file that holds a secret.
	ErrKeyMode = errors.New("others may read this key")
	// ErrWrongPassphrase says that a key file is encrypted to another passphrase.
	ErrWrongPassphrase = errors.New("wrong passphrase")
	// ErrNotRecipient says that a key object, or an object under it, is sealed to
	// other keys than the ones at hand.
	ErrNotRecipient = errors.New("not sealed to this key")
	// ErrNoKey says that an object's key object has not been added to the Opener,
	// or has been dropped from it since.
	ErrNoKey = errors.New("its key object is not loaded")
	// ErrAuth says that sealed bytes, or the header and refs they are sealed with,
	// are not what their sender made.
	ErrAuth = errors.New("does not authenticate")
	// ErrID says that an object's plaintext does not have the object's id.
	ErrID = errors.New("content does not match its id")
)
