package protocol

import "fmt"

// Operation numbers what an administrator can ask of a store. The numbers
// never change their meaning; packnback-protocol(7), "ADMINISTRATION", has the
// arguments, events and result of each.
type Operation uint16

// The operations.
const (
	OpInit Operation = 1 // make the repository
)

var operationNames = map[Operation]string{
	OpInit: "init",
}

// String returns the operation's name, which is that of the command.
func (o Operation) String() string {
	if s, ok := operationNames[o]; ok {
		return s
	}
	return fmt.Sprintf("operation %d", uint16(o))
}
