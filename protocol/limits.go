package protocol

import (
	"time"

	"github.com/packnback/packnback/repo/object"
)

// Version is the one version of the protocol that this program speaks.
const Version = 1

// Limits of the protocol. Each bounds what a receiver must be ready to
// allocate for one message before it has looked inside.
const (
	// MaxPayload is the largest payload of any frame. The largest object record
	// fits with room for what later versions may put around it.
	MaxPayload = 16 << 20
	// MaxHave is the largest number of ids in one Have: 128 KiB a frame, answered
	// within milliseconds, so that questions don't hold up puts.
	MaxHave = 4096
	// MaxFetch is the largest number of ids in one Fetch: 2 MiB a frame, and
	// enough for a store to order them by place.
	MaxFetch = 1 << 16
	// MaxStreams is the largest number of streams under way on one connection.
	// Each costs the store one record. A consumer may start a stream in the middle
	// of another, so there are more than anybody wants to run side by side.
	MaxStreams = 32
	// MaxWindow is the largest number of unused bytes in a stream's window.
	MaxWindow = 64 << 20
	// MaxPath is the largest length of a repository's path, Linux's PATH_MAX.
	MaxPath = 4096
	// MaxProgram is the largest length of a program's version text.
	MaxProgram = 64
	// MaxJobs is the largest number of jobs that a connection can be pinned to.
	MaxJobs = 32
	// MaxAdopted is the largest number of adopted uploads an Opened lists.
	MaxAdopted = 16
	// MaxDetail is the largest length of an error's text.
	MaxDetail = 1024
	// MaxArguments is the largest length of an operation's arguments.
	MaxArguments = 256 << 10
	// MaxEvent is the largest length of an operation's event.
	MaxEvent = 64 << 10
	// MaxResult is the largest length of an operation's result.
	MaxResult = 1 << 20
	// MaxListed is the largest number of items in an answer that a client holds as
	// a whole: Snapshots, and the events of the operations trash, status and
	// forget by a policy. It bounds what a store can make a client keep: less than
	// 1 GiB of snapshots, whose sealed parts nobody keeps.
	MaxListed = 1 << 20
	// MaxListedLinks is the same for Links, which a store keeps for ever: a hundred
	// machines that back up every hour come to it in ten years. Some 200 bytes of
	// each are kept.
	MaxListedLinks = 8 << 20
	// MaxListedBytes bounds the same of those events, which may be larger.
	MaxListedBytes = 1 << 30
	// MaxNoise is how much a client reads of something that isn't the protocol.
	MaxNoise = 4 << 10
)

// Times after which a silent side says that it is there, and a client takes a
// silent store for dead. The store's own limit is set by its administrator. How
// long a store may take for Welcome is longer, because ssh has to log in first.
const (
	AliveInterval   = 15 * time.Second
	ClientPatience  = 3 * time.Minute
	WelcomePatience = 10 * time.Minute
)

const number = 4 // length of a request number

// limits gives the largest payload of each type. A type that is not here does
// not exist.
var limits = map[Type]int{
	TypeHello:      2 + 2 + 2 + MaxPath + 1 + MaxProgram,
	TypeAlive:      0,
	TypeOpen:       number + 2*(1+object.MaxName) + object.IDSize,
	TypePut:        object.MaxRecord,
	TypeHave:       number + MaxHave*object.IDSize,
	TypeCheckpoint: number,
	TypeCommit:     number + 2 + object.MaxLink + object.MaxSealedPart,
	TypeClose:      number,
	TypeReplicate:  number + 2*(1+object.MaxName),
	TypeReplica:    number + object.MaxSnapshot,
	TypeSnapshots:  number + 4,
	TypeLookup:     number + 4 + object.IDSize,
	TypeLinks:      number + 4,
	TypePush:       number + 4 + object.IDSize,
	TypeFetch:      number + 4 + MaxFetch*object.IDSize,
	TypeWindow:     number + 4,
	TypeCancel:     number,
	TypeKeys:       number + 4,
	TypeAdminister: number + 4 + 2 + MaxArguments,

	TypeWelcome:    2 + 2 + object.RepositoryIDSize + 4 + 8 + 1 + object.MaxName + 1 + MaxJobs*(1+object.MaxName) + 1 + MaxProgram,
	TypeStoreAlive: 0,
	TypeError:      number + 2 + 2 + MaxDetail + 1 + 4 + object.MaxMissing*object.IDSize,
	TypeDone:       number,
	TypeOpened:     number + object.RepositoryIDSize + 16 + 8 + object.IDSize + 1 + 1 + MaxAdopted*(16+8),
	TypeHeld:       number + 2 + MaxHave/8,
	TypeDurable:    8,
	TypeCommitted:  number + object.IDSize + 8 + 4,
	TypeSnapshot:   number + object.MaxSnapshot,
	TypeObject:     number + object.MaxRecord,
	TypeEvent:      number + MaxEvent,
	TypeResult:     number + MaxResult,
}
