package crypto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"filippo.io/age"
	"github.com/packnback/packnback/repo/object"
)

const (
	// rewrapMagic begins a rewrap bundle in the clear, rewrapTableMagic the table
	// that is encrypted in it. The last byte of each is the version.
	rewrapMagic      = "PNBrwrp\x01"
	rewrapTableMagic = "PNBrtab\x01"
	// MaxRewrap is the largest number of key objects in one rewrap bundle: 70
	// years of daily backups of a client. It bounds what a reader allocates to 25
	// MiB.
	MaxRewrap = 1 << 18
	// rewrapRow is key object id | u8 class | session key | id key.
	rewrapRow = object.IDSize + 1 + 2*KeySize
	// MaxRewrapBundle is the largest length of a rewrap bundle in bytes.
	MaxRewrapBundle = MaxRewrap*rewrapRow + 1<<20
)

// Rewrap collects the session keys of key objects for a new recipient. Key
// objects can't be wrapped anew in place, because every object names its key
// object by hash; the bundle that Seal makes gives the new recipient the keys
// beside the repository instead. It is for one goroutine.
type Rewrap struct {
	to   Recipient
	rows []byte                 // rows of rewrapRow bytes, in no order until Seal
	seen map[object.ID]struct{} // key objects that were added, MaxRewrap at most
}

// NewRewrap starts a bundle for a recipient. One that only lists is given the
// metadata class only.
func NewRewrap(to Recipient) *Rewrap {
	return &Rewrap{to: to, seen: make(map[object.ID]struct{})}
}

// Add takes the session key of the key object rec, which identities open; one
// that was added before changes nothing. A key object that is sealed to others
// gives ErrNotRecipient.
func (w *Rewrap) Add(rec *object.Record, identities ...age.Identity) error {
	if _, ok := w.seen[rec.ID]; ok {
		return nil
	}
	p, err := unwrapKeyObject(rec, identities)
	if err != nil {
		return err
	}
	if w.to.purpose == ForList && p.class != object.ClassMetadata {
		return nil
	}
	if w.Len() == MaxRewrap {
		return fmt.Errorf("a rewrap bundle holds at most %d key objects", MaxRewrap)
	}
	w.seen[rec.ID] = struct{}{}
	w.rows = append(w.rows, rec.ID[:]...)
	w.rows = append(w.rows, byte(p.class))
	w.rows = append(w.rows, p.session[:]...)
	w.rows = append(w.rows, p.id[:]...)
	return nil
}

// Len returns the number of key objects in the bundle.
func (w *Rewrap) Len() int { return len(w.rows) / rewrapRow }

// Seal returns the bundle, which only the new recipient can open.
func (w *Rewrap) Seal() ([]byte, error) {
	if w.Len() == 0 {
		return nil, errors.New("rewrap bundle: no key object was added")
	}
	sort.Sort(rewrapRows(w.rows))
	table := binary.BigEndian.AppendUint32([]byte(rewrapTableMagic), uint32(w.Len()))
	table = append(table, w.rows...)
	sealed, err := encrypt(table, w.to.key)
	if err != nil {
		return nil, fmt.Errorf("sealing a rewrap bundle: %w", err)
	}
	return append([]byte(rewrapMagic), sealed...), nil
}

// Format prints the type's name instead of its secrets.
func (w Rewrap) Format(f fmt.State, _ rune) { redact(f, "Rewrap") }

// AddRewrap makes the keys in a rewrap bundle available to o, beside the key
// objects in the repository. A bundle for another recipient gives
// ErrNotRecipient.
func (o *Opener) AddRewrap(bundle []byte) error {
	if len(bundle) > MaxRewrapBundle || !bytes.HasPrefix(bundle, []byte(rewrapMagic)) {
		return fmt.Errorf("%w rewrap bundle: not a version 1 bundle of at most %d bytes", object.ErrMalformed, MaxRewrapBundle)
	}
	b, err := decrypt(bundle[len(rewrapMagic):], len(rewrapTableMagic)+4+MaxRewrap*rewrapRow, o.identities)
	if err != nil {
		return fmt.Errorf("rewrap bundle: %w", err)
	}
	t, err := unmarshalRewrapTable(b)
	if err != nil {
		return fmt.Errorf("rewrap bundle: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bundles = append(o.bundles, t)
	for e := o.recent.Front(); e != nil; {
		next := e.Next()
		if e.Value.(*openKey).class == 0 {
			o.drop(e) // refused before; the bundle may have it
		}
		e = next
	}
	return nil
}

// rewrapTable is an opened bundle: rows sorted by key object id.
type rewrapTable struct{ rows []byte }

// unmarshalRewrapTable reads the one table that b is, no byte more: magic | u32
// number of rows | rows, strictly ascending. The table shares b's memory.
func unmarshalRewrapTable(b []byte) (*rewrapTable, error) {
	head := len(rewrapTableMagic) + 4
	if len(b) < head || string(b[:len(rewrapTableMagic)]) != rewrapTableMagic {
		return nil, fmt.Errorf("%w table: not a version 1 table", object.ErrMalformed)
	}
	n := binary.BigEndian.Uint32(b[len(rewrapTableMagic):])
	if n == 0 || n > MaxRewrap || len(b) != head+int(n)*rewrapRow {
		return nil, fmt.Errorf("%w table: %d bytes for %d rows", object.ErrMalformed, len(b), n)
	}
	t := &rewrapTable{rows: b[head:]}
	for i := range int(n) {
		if c := object.Class(t.row(i)[object.IDSize]); c != object.ClassMetadata && c != object.ClassContent {
			return nil, fmt.Errorf("%w table: row %d has unknown %s", object.ErrMalformed, i, c)
		}
		if i > 0 && bytes.Compare(t.row(i - 1)[:object.IDSize], t.row(i)[:object.IDSize]) >= 0 {
			return nil, fmt.Errorf("%w table: rows %d and %d are not in order", object.ErrMalformed, i-1, i)
		}
	}
	return t, nil
}

func (t *rewrapTable) row(i int) []byte { return t.rows[i*rewrapRow : (i+1)*rewrapRow] }

// find returns the keys of the key object id, or nil.
func (t *rewrapTable) find(id object.ID) *keyPayload {
	n := len(t.rows) / rewrapRow
	i := sort.Search(n, func(i int) bool { return bytes.Compare(t.row(i)[:object.IDSize], id[:]) >= 0 })
	if i == n || !bytes.Equal(t.row(i)[:object.IDSize], id[:]) {
		return nil
	}
	row := t.row(i)[object.IDSize:]
	return &keyPayload{
		class:   object.Class(row[0]),
		session: [KeySize]byte(row[1:]),
		id:      [KeySize]byte(row[1+KeySize:]),
	}
}

// rewrapRows sorts rows in place by their key object ids.
type rewrapRows []byte

func (r rewrapRows) Len() int         { return len(r) / rewrapRow }
func (r rewrapRows) row(i int) []byte { return r[i*rewrapRow : (i+1)*rewrapRow] }
func (r rewrapRows) Less(i, j int) bool {
	return bytes.Compare(r.row(i)[:object.IDSize], r.row(j)[:object.IDSize]) < 0
}

func (r rewrapRows) Swap(i, j int) {
	var tmp [rewrapRow]byte
	copy(tmp[:], r.row(i))
	copy(r.row(i), r.row(j))
	copy(r.row(j), tmp[:])
}
