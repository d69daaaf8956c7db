package restorer

import (
	"testing"

	"github.com/packnback/packnback/chunk"
	"github.com/packnback/packnback/cmd/packnback/internal/view/viewtest"
	"github.com/packnback/packnback/crypto"
)

// compressed returns b as one Zstandard frame.
func compressed(t *testing.T, b []byte) []byte {
	t.Helper()
	c, err := chunk.NewCompressor(chunk.LevelFastest, 1)
	if err != nil {
		t.Fatal(err)
	}
	codec, out := c.Compress(nil, b)
	if codec != chunk.CodecZstd {
		t.Fatal("it does not compress")
	}
	return out
}

// openerOf returns an Opener with the key that reads names only.
func openerOf(b *viewtest.Builder) *crypto.Opener { return crypto.NewOpener(b.Lister.Identities()...) }
