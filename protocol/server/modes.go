package server

import (
	"github.com/packnback/packnback/protocol"
	"github.com/packnback/packnback/repo/object"
)

// Mode says what the client of a connection may do.
type Mode int

// The modes of packnback-serve(1).
const (
	Full      Mode = iota // everything
	ReadOnly              // list and restore
	WriteOnly             // add snapshots, and learn nothing but its own standing
)

var modes = map[Mode]protocol.Permissions{
	Full:      protocol.MayUpload | protocol.MayRead | protocol.MayAdminister,
	ReadOnly:  protocol.MayRead,
	WriteOnly: protocol.MayUpload,
}

// needs is the one place that says what permission a message needs. A message
// that isn't here is not a client's, and ends the connection.
var needs = map[protocol.Type]protocol.Permissions{
	protocol.TypeHello:      0,
	protocol.TypeAlive:      0,
	protocol.TypeWindow:     0,
	protocol.TypeCancel:     0,
	protocol.TypeOpen:       protocol.MayUpload,
	protocol.TypePut:        protocol.MayUpload,
	protocol.TypeHave:       protocol.MayUpload,
	protocol.TypeCheckpoint: protocol.MayUpload,
	protocol.TypeCommit:     protocol.MayUpload,
	protocol.TypeClose:      protocol.MayUpload,
	protocol.TypeReplicate:  protocol.MayUpload | protocol.MayRead | protocol.MayAdminister,
	protocol.TypeReplica:    protocol.MayUpload | protocol.MayRead | protocol.MayAdminister,
	protocol.TypeSnapshots:  protocol.MayRead,
	protocol.TypeLookup:     protocol.MayRead,
	protocol.TypeLinks:      protocol.MayRead,
	protocol.TypePush:       protocol.MayRead,
	protocol.TypeFetch:      protocol.MayRead,
	protocol.TypeKeys:       protocol.MayRead,
	// Operations have permissions of their own; none is open to a connection that
	// may not even read.
	protocol.TypeAdminister: protocol.MayRead,
}

// operationNeeds says the same for the operations of Administer.
var operationNeeds = map[protocol.Operation]protocol.Permissions{
	protocol.OpInit:        protocol.MayAdminister,
	protocol.OpSettings:    protocol.MayRead,
	protocol.OpSet:         protocol.MayAdminister,
	protocol.OpCheck:       protocol.MayRead,
	protocol.OpRepairIndex: protocol.MayAdminister,
	protocol.OpMarkBad:     protocol.MayAdminister,
	protocol.OpStats:       protocol.MayRead,
	protocol.OpForget:      protocol.MayAdminister,
	protocol.OpApplyPolicy: protocol.MayAdminister,
	protocol.OpUnforget:    protocol.MayAdminister,
	protocol.OpTrash:       protocol.MayRead,
	protocol.OpAcknowledge: protocol.MayAdminister,
	protocol.OpPrune:       protocol.MayAdminister,
	protocol.OpStatus:      protocol.MayRead,
	protocol.OpRepairPacks: protocol.MayAdminister,
	protocol.OpDrill:       protocol.MayAdminister,
	protocol.OpInitReplica: protocol.MayAdminister,
	protocol.OpAddLinks:    protocol.MayAdminister,
}

// doing says in a user's words what a message asks for.
var doing = map[protocol.Type]string{
	protocol.TypeOpen:       "uploading",
	protocol.TypePut:        "uploading",
	protocol.TypeHave:       "uploading",
	protocol.TypeCheckpoint: "uploading",
	protocol.TypeCommit:     "uploading",
	protocol.TypeClose:      "uploading",
	protocol.TypeReplicate:  "copying to a replica",
	protocol.TypeReplica:    "copying to a replica",
	protocol.TypeSnapshots:  "listing snapshots",
	protocol.TypeLookup:     "reading snapshots",
	protocol.TypeLinks:      "listing snapshots",
	protocol.TypePush:       "reading objects",
	protocol.TypeFetch:      "reading objects",
	protocol.TypeKeys:       "reading objects",
	protocol.TypeAdminister: "administration",
}

// refusal is the error for something that the connection may not do.
func (c *conn) refusal(what string) error {
	return object.CodeDenied.Errorf("this connection is %s: %s is not permitted", c.granted, what)
}

// outward takes out of an error what a client that may not read shouldn't
// learn: the state of files that aren't its own.
func (c *conn) outward(err error) error {
	if c.granted&protocol.MayRead != 0 {
		return err
	}
	switch code := object.CodeOf(err); code {
	case object.CodeInternal, object.CodeDamaged:
		return code.Errorf("%w; its administrator can find out more", code)
	}
	return err
}
