package object

// SessionID is the random name of one upload session; its packs carry it.
type SessionID [16]byte

// Standing is what a store tells a sender when a session opens: all a sender
// with a good cache needs to know before it can commit.
type Standing struct {
	Repository RepositoryID
	Session    SessionID
	Seq        uint64 // sequence number of the job's newest snapshot; 0 when there is none
	Head       ID     // its id; zero when there is none
	Based      bool   // the base the sender named is the head, present, and pinned for this session
	Adopted    []Adopted
}

// Adopted is an earlier upload of the same client and job that was cut off and
// whose durable objects now count as put by this session.
type Adopted struct {
	Session SessionID
	Durable uint64 // how many of its puts, in the order they were made, are durable
}

// Receipt is a store's answer to a commit.
type Receipt struct {
	Snapshot ID
	Received int64 // the store's clock, nanoseconds since 1970
	Flags    Flags
}
