// Package version tells which build is running. It holds no state: a program that is linked with a release version keeps it in a
// variable of its own main package (go build -ldflags "-X main.version=v1.2.3") and hands it to Read.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// develVersion is what an unreleased build without version control information calls itself.
const develVersion = "devel"

// Info describes one build.
type Info struct {
	// Version is the release ("v1.2.3"), a pseudo-version, or "devel".
	Version string
	// Revision is the commit the build was made from; empty when the build does not know it.
	Revision string
	// Modified is true when the work tree differed from Revision.
	Modified bool
	// GoVersion is the toolchain's version ("go1.26.0").
	GoVersion string
}

// Read describes the running program. A linked version that is not empty wins over the module version that the go command recorded.
func Read(linked string) Info {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		build = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return From(linked, build)
}

// From is Read for a given build record.
func From(linked string, build *debug.BuildInfo) Info {
	info := Info{Version: linked, GoVersion: build.GoVersion}
	if info.Version == "" {
		info.Version = build.Main.Version
	}
	if info.Version == "" || info.Version == "(devel)" {
		info.Version = develVersion
	}
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			info.Revision = s.Value
		case "vcs.modified":
			info.Modified = s.Value == "true"
		}
	}
	return info
}

// String returns the version with the commit it was made from, if known: "v1.2.3 (0123456789ab, modified, go1.26.0)".
func (i Info) String() string {
	detail := i.GoVersion
	if i.Modified {
		detail = "modified, " + detail
	}
	if i.Revision != "" {
		detail = fmt.Sprintf("%.12s, %s", i.Revision, detail)
	}
	return fmt.Sprintf("%s (%s)", i.Version, detail)
}
