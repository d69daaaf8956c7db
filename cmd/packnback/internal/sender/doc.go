// Package sender turns a walk of the file system into a committed snapshot:
// it reads what the cache does not know, cuts and bundles it, computes ids,
// leaves out what the store has, seals the rest and sends it.
//
// The command calls Run with a send key, a source and a way to open a session;
// the store is only the four methods of Store, so a local repository and a
// connection are the same to it. The package never decrypts, never deletes,
// never trusts the cache for more than time, and decides nothing about
// retention. What it sends is specified in packnback-tree(5) and
// packnback-key(5), what it remembers in packnback-cache(5).
//
// The stages of one pass, each one goroutine unless it says otherwise:
//
//	source.Walk ─ match ──────────── batches in walk order ────────────→ assemble
//	   (cache read in step)  │ small files  ┌──────────────┐ contents      │  │
//	                         ├────────────→ │ readers (N)  │ ─────────────→┤  └→ new cache
//	                         │ large files  ├──────────────┤ extents       │
//	                         └────────────→ │ cutters (2)  │ ─────────────→┘
//	                                        └──────┬───────┘               │
//	                                 chunks, lists │      bundles, folders │
//	                                               ↓                       ↓
//	                        offer: id → known? → claimed once ─ bytes of budget
//	                                               │
//	                                  asker: have?, in batches, when needed
//	                                               │
//	                                  sealers (one a core): compress, seal
//	                                               │
//	                                  putter: Store.Put, log, resend ─→ commit
//
// Memory is bounded by two budgets of bytes: what readers may be ahead of the
// assembler, and what may lie between offer and Put. The stages after offer
// never wait for those before it, so neither budget can deadlock. The
// assembler sees everything in walk order, which makes bundles and the cache
// deterministic, and the putter hands over what was sealed in the order in which
// it was claimed, so that a cut-off upload is whole in itself. An entry whose bundle is still open waits in a queue together
// with everything behind it; the bundle is closed early when the queue is long.
//
// A pass that the store refuses because objects are missing is repeated in a new
// session with those taken as absent and all else verified, and then once more
// without any cache.
package sender
