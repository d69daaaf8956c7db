// Package env is the world around one run of the program: arguments, standard
// streams, environment variables, clock, host name, terminal and the folders
// where a user keeps configuration, caches and state.
//
// cmd/packnback makes one Env and hands it down; nothing else reads os.Args,
// the standard streams, the environment or the clock, so tests can replace all
// of it. It never parses flags and never prints by itself. The folders are
// specified in packnback(1), "FILES".
package env
