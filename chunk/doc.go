// Package chunk turns bytes into fewer bytes: it cuts large files where their
// content says so, and compresses what is about to be sealed.
//
// The sender calls Chunker and Compressor, every reader calls Decompressor.
// The package opens no file, computes no object id and knows no cipher. The
// cutting rule and the codecs are specified in packnback-tree(5), "Chunking"
// and "Compression".
package chunk
