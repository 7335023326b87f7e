// A reader and a writer of tiled logs over golang.org/x/mod/sumdb: the code that Go's own checksum
// database is read with. Notes, tiles, hashes and proofs are that library's; only where C2SP
// tlog-tiles names a path otherwise, and the lines of cosignature/v1, are told here.
//
//	tlog read  [-old SIZE:ROOT] URL KEY [COSIGNER...]    read and check all of a log; JSON of what it is
//	tlog write FOLDER ORIGIN SIZE                        write a log of one's own; prints its verifier key
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("say read or write")
	}
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	old := flags.String("old", "", "a head that was seen before")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch {
	case args[0] == "read" && flags.NArg() >= 2:
		return read(flags.Arg(0), *old, flags.Args()[1:])
	case args[0] == "write" && flags.NArg() == 3:
		return write(flags.Arg(0), flags.Arg(1), flags.Arg(2))
	}
	return errors.New("say read URL KEY or write FOLDER ORIGIN SIZE")
}

// ── Reading ─────────────────────────────────────────────────────────────────────────────────

type told struct {
	Origin  string   `json:"origin"`
	Size    int64    `json:"size"`
	Root    string   `json:"root"`
	Entries int64    `json:"entries"`
	Signers []string `json:"signers"`
	Others  int      `json:"others"`
}

func read(url, old string, keys []string) error {
	verifiers, err := verifiersOf(keys)
	if err != nil {
		return err
	}
	shown, err := get(url + "/checkpoint")
	if err != nil {
		return err
	}
	opened, err := note.Open(shown, verifiers)
	if err != nil {
		return err
	}
	origin, tree, err := parseCheckpoint(opened.Text)
	if err != nil {
		return err
	}
	found := told{Origin: origin, Size: tree.N, Root: tree.Hash.String(), Others: len(opened.UnverifiedSigs)}
	signed := false
	for _, line := range opened.Sigs {
		found.Signers = append(found.Signers, line.Name)
		signed = signed || line.Name == origin
	}
	if !signed {
		return errors.New("the log itself did not sign its head")
	}
	hashes := tlog.TileHashReader(tree, tiles{url, map[tlog.Tile][]byte{}})
	if old != "" {
		if err := continues(old, tree, hashes); err != nil {
			return err
		}
	}
	if found.Entries, err = readEntries(url, tree, hashes); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// continues reports whether the tree is one with a head that was seen before.
func continues(old string, tree tlog.Tree, hashes tlog.HashReader) error {
	size, root, _ := strings.Cut(old, ":")
	before, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return err
	}
	hash, err := tlog.ParseHash(root)
	if err != nil {
		return err
	}
	proof, err := tlog.ProveTree(tree.N, before, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, before, hash)
}

// readEntries proves that every entry stands in the tree.
func readEntries(url string, tree tlog.Tree, hashes tlog.HashReader) (int64, error) {
	var index int64
	for index < tree.N {
		width := int(tree.N - index)
		if width > 1<<height {
			width = 1 << height
		}
		path := strings.Replace(pathOf(tlog.Tile{H: height, L: 0, N: index >> height, W: width}), "tile/0/", "tile/entries/", 1)
		bundle, err := get(url + "/" + path)
		if err != nil {
			return index, err
		}
		for ; width > 0; width-- {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				return index, fmt.Errorf("%s is cut off", path)
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			proof, err := tlog.ProveRecord(tree.N, index, hashes)
			if err != nil {
				return index, err
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(bundle[2:end])); err != nil {
				return index, fmt.Errorf("entry %d: %w", index, err)
			}
			bundle, index = bundle[end:], index+1
		}
		if len(bundle) != 0 {
			return index, fmt.Errorf("%s is too long", path)
		}
	}
	return index, nil
}

// tiles is a tlog.TileReader over HTTP, which fetches once what was found to hold.
type tiles struct {
	url  string
	held map[tlog.Tile][]byte
}

func (t tiles) Height() int { return height }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		content, held := t.held[tile]
		if !held {
			var err error
			if content, err = get(t.url + "/" + pathOf(tile)); err != nil {
				return nil, err
			}
		}
		found = append(found, content)
	}
	return found, nil
}

func (t tiles) SaveTiles(verified []tlog.Tile, contents [][]byte) {
	for n, tile := range verified {
		t.held[tile] = contents[n]
	}
}

// pathOf leaves out the height, which tlog-tiles has fixed.
func pathOf(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
}

func get(url string) ([]byte, error) {
	answer, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, answer.Status)
	}
	return io.ReadAll(answer.Body)
}

// parseCheckpoint reads origin, size and root: c2sp.org/tlog-checkpoint.
func parseCheckpoint(text string) (string, tlog.Tree, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 {
		return "", tlog.Tree{}, errors.New("a checkpoint has three lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return "", tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return lines[0], tlog.Tree{N: size, Hash: root}, err
}

// ── Keys ────────────────────────────────────────────────────────────────────────────────────

func verifiersOf(keys []string) (note.Verifiers, error) {
	var found []note.Verifier
	for _, key := range keys {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			verifier, err = newCosigner(key)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		found = append(found, verifier)
	}
	return note.VerifierList(found...), nil
}

// cosigner verifies cosignature/v1 (c2sp.org/tlog-cosignature): the library came before it.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newCosigner(text string) (note.Verifier, error) {
	parts := strings.SplitN(text, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("not name+id+key")
	}
	hash, err := strconv.ParseUint(parts[1], 16, 32)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != 4 {
		return nil, errors.New("not a key of a cosigner")
	}
	return &cosigner{parts[0], uint32(hash), key[1:]}, nil
}

func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return c.hash }

func (c *cosigner) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	said := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(signature), text)
	return ed25519.Verify(c.key, []byte(said), signature[8:])
}

// ── Writing ─────────────────────────────────────────────────────────────────────────────────

func write(folder, origin, count string) error {
	size, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		return err
	}
	secret, public, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return err
	}
	var stored []tlog.Hash
	hashes := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	var bundles [][]byte
	for n := int64(0); n < size; n++ {
		entry := []byte(fmt.Sprintf(`{"number":%d,"time":"2026-10-01T00:00:00.%06dZ"}`, n, n))
		more, err := tlog.StoredHashes(n, entry, hashes)
		if err != nil {
			return err
		}
		stored = append(stored, more...)
		if n%(1<<height) == 0 {
			bundles = append(bundles, nil)
		}
		last := &bundles[len(bundles)-1]
		*last = append(binary.BigEndian.AppendUint16(*last, uint16(len(entry))), entry...)
	}
	for _, tile := range tlog.NewTiles(height, 0, size) {
		content, err := tlog.ReadTileData(tile, hashes)
		if err != nil {
			return err
		}
		if err := put(folder, pathOf(tile), content); err != nil {
			return err
		}
		if tile.L == 0 {
			path := strings.Replace(pathOf(tile), "tile/0/", "tile/entries/", 1)
			if err := put(folder, path, bundles[tile.N]); err != nil {
				return err
			}
		}
	}
	root, err := tlog.TreeHash(size, hashes)
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return err
	}
	head, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", origin, size, root)}, signer)
	if err != nil {
		return err
	}
	fmt.Println(public)
	return put(folder, "checkpoint", head)
}

func put(folder, path string, content []byte) error {
	full := filepath.Join(folder, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		return err
	}
	return os.WriteFile(full, content, 0o600)
}
