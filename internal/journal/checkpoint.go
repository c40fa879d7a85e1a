package journal

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Checkpoint is the head of a Merkle log: how many entries it has and the root
// over them.
type Checkpoint struct {
	// Origin names the log, for example allclear.example.com/prod. It is the key name
	// of the signature over the checkpoint.
	Origin string
	Size   uint64
	Root   [sha256.Size]byte
}

// Text is the checkpoint as C2SP tlog-checkpoint writes it, the text of a signed
// note: origin, size in decimal and root in base64, a line each, without extension
// lines.
func (c Checkpoint) Text() string {
	return c.Origin + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n"
}

// String is the short form for notifications: log=<size> root=<16 hex digits>.
func (c Checkpoint) String() string {
	return fmt.Sprintf("log=%d root=%s", c.Size, hex.EncodeToString(c.Root[:8]))
}

// ParseCheckpoint reads what Text writes and nothing else.
func ParseCheckpoint(text string) (Checkpoint, error) {
	if len(text) > 1000 {
		return Checkpoint{}, fmt.Errorf("checkpoint has %d bytes, the most is 1000", len(text))
	}
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return Checkpoint{}, fmt.Errorf("checkpoint has not exactly three lines")
	}
	if lines[0] == "" {
		return Checkpoint{}, fmt.Errorf("checkpoint has no origin")
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("checkpoint size %q is not a decimal number", lines[1])
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != sha256.Size {
		return Checkpoint{}, fmt.Errorf("checkpoint root is not 32 bytes in base64")
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: [sha256.Size]byte(root)}, nil
}
