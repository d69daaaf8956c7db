package repo

import "github.com/packnback/packnback/repo/object"

// measure completes what a commit knows of its snapshot and says what is
// unusual about it. h is the head before it. It reads nothing but what the
// upload brought, so its time is bounded by that.
func (s *Session) measure(h *head, m *object.Manifest, sums object.Measures) (object.Measures, object.Flags) {
	var flags object.Flags
	if h.seq > 0 && h.signer != m.Signer {
		flags |= object.FlagNewSigner
	}
	return sums, flags
}

// remember returns the history of a head after snap became its newest.
func remember(history []byte, snap *object.Snapshot) []byte { return history }
