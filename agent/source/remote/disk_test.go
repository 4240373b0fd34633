package remote

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func FuzzParseSnapshot(f *testing.F) {
	path := filepath.Join(f.TempDir(), "s")
	if err := writeSnapshot(path, &apiv1.Snapshot{Revision: 3, Tunnels: []*apiv1.VPNTunnel{{Name: "shop-1"}}}); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, content []byte) {
		got, err := parseSnapshot(content)
		if (err == nil) != (got != nil) {
			t.Fatal("neither a snapshot nor an error, or both")
		}
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "s")
		if err := writeSnapshot(path, got); err != nil {
			t.Fatal(err)
		}
		if again, err := readSnapshot(path); err != nil || !proto.Equal(again, got) {
			t.Errorf("written and read again it is another one: %v", err)
		}
	})
}
