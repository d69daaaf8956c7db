// Package transport brings the bytes of packnback's protocol to a store on
// another machine and back: through the system's ssh, through a built-in ssh
// client, or through this process's own standard input and output on the far
// side. It also reads the addresses of repositories.
//
// Its callers are the commands of cmd/packnback. It knows nothing of the
// protocol; what it knows is why a connection did not come about, and says so
// in errors that tell a refused key from a changed host key and both from a
// missing program. Words from outside never become options of ssh or words of
// a shell. What users see of it is in packnback(1), under --repo and
// --ssh-command.
package transport
