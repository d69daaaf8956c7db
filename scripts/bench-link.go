//go:build ignore

// bench-link.go is the cable of scripts/bench-link: it listens for each of the
// round trips it is given and passes on to a port of this machine.
//
//	go run scripts/bench-link.go PORT MILLISECONDS...
//
// It prints the ports it listens on. For each line on standard input, which is
// one of the round trips, it prints the bytes sent, the bytes received and the
// turns since the line before for that round trip, and begins to count anew.
package main

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/packnback/packnback/protocol/transport/linktest"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: bench-link PORT MILLISECONDS...")
	}
	cables := make(map[string]*linktest.Proxy)
	for _, ms := range os.Args[2:] {
		n, err := strconv.Atoi(ms)
		if err != nil {
			log.Fatal(err)
		}
		p, err := linktest.New("127.0.0.1:"+os.Args[1], time.Duration(n)*time.Millisecond)
		if err != nil {
			log.Fatal(err)
		}
		cables[ms] = p
		fmt.Println(p.Port())
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		p := cables[lines.Text()]
		if p == nil {
			log.Fatalf("no cable of %q ms", lines.Text())
		}
		c := p.Reset()
		fmt.Println(c.Up, c.Down, c.Turns)
	}
}
