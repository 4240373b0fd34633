package remote

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/durable"
)

// magic begins the file: what it is and the version of its format. The SHA-256 of what follows it comes next, then the Snapshot.
const magic = "bordergw-snapshot-1\n"

// maxSnapshot bounds the file and what is received, in bytes: room for some 30,000 tunnels.
const maxSnapshot = 128 << 20

// writeSnapshot replaces the copy on disk. Only this user can read it, and its secrets are sealed.
func writeSnapshot(path string, snapshot *apiv1.Snapshot) error {
	content, err := proto.Marshal(snapshot)
	if err != nil {
		return fmt.Errorf("keep the snapshot: %w", err)
	}
	sum := sha256.Sum256(content)
	if err := durable.WriteFile(path, slices.Concat([]byte(magic), sum[:], content), 0o600); err != nil {
		return fmt.Errorf("keep the snapshot: %w", err)
	}
	return nil
}

// readSnapshot returns nil when there is no file.
func readSnapshot(path string) (*apiv1.Snapshot, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("cannot be read: %w", err)
	case !info.Mode().IsRegular() || info.Size() > maxSnapshot:
		return nil, fmt.Errorf("is not a regular file of at most %d bytes", maxSnapshot)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return parseSnapshot(content)
}

func parseSnapshot(content []byte) (*apiv1.Snapshot, error) {
	rest, ok := bytes.CutPrefix(content, []byte(magic))
	if !ok {
		return nil, errors.New("is not a snapshot in a format that this version knows")
	}
	if len(rest) < sha256.Size {
		return nil, errors.New("is damaged: it ends too early")
	}
	sum := sha256.Sum256(rest[sha256.Size:])
	if !bytes.Equal(sum[:], rest[:sha256.Size]) {
		return nil, errors.New("is damaged: its checksum is another one")
	}
	out := &apiv1.Snapshot{}
	if err := proto.Unmarshal(rest[sha256.Size:], out); err != nil {
		return nil, fmt.Errorf("cannot be decoded: %w", err)
	}
	return out, nil
}
