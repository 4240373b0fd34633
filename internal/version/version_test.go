package version_test

import (
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/internal/version"
)

func TestFrom(t *testing.T) {
	settings := []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"},
		{Key: "vcs.modified", Value: "true"},
		{Key: "GOOS", Value: "linux"},
	}
	tests := map[string]struct {
		linked string
		build  debug.BuildInfo
		want   version.Info
		text   string
	}{
		"linked wins": {
			linked: "v1.2.3",
			build:  debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "v0.0.0-1"}, Settings: settings},
			want:   version.Info{Version: "v1.2.3", Revision: "0123456789abcdef0123456789abcdef01234567", Modified: true, GoVersion: "go1.26.0"},
			text:   "v1.2.3 (0123456789ab, modified, go1.26.0)",
		},
		"module version": {
			build: debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "v1.0.0"}},
			want:  version.Info{Version: "v1.0.0", GoVersion: "go1.26.0"},
			text:  "v1.0.0 (go1.26.0)",
		},
		"work tree build": {
			build: debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "(devel)"}},
			want:  version.Info{Version: "devel", GoVersion: "go1.26.0"},
			text:  "devel (go1.26.0)",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := version.From(tc.linked, &tc.build)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("From (-want +got):\n%s", diff)
			}
			if got.String() != tc.text {
				t.Errorf("String() = %q, want %q", got, tc.text)
			}
		})
	}
}

func TestReadKnowsItsToolchain(t *testing.T) {
	got := version.Read("v9.9.9")
	if got.Version != "v9.9.9" || !strings.HasPrefix(got.GoVersion, "go") {
		t.Errorf("Read = %+v", got)
	}
}
