package initramfs

import (
	"fmt"
	"io"
)

// File modes of cpio entries, as in stat(2).
const (
	modeDir  = 0o040755
	modeFile = 0o100755
)

// archive writes the "newc" cpio format, which the kernel unpacks as its first root file system
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	w   io.Writer
	n   int64
	ino int
	err error
}

func (a *archive) dir(name string)               { a.entry(name, modeDir, nil) }
func (a *archive) file(name string, data []byte) { a.entry(name, modeFile, data) }

// close writes the trailer and returns the first error of the archive.
func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, nil)
	return a.err
}

func (a *archive) entry(name string, mode int, data []byte) {
	a.ino++
	// magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
	a.printf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad()
	a.write(data)
	a.pad()
}

func (a *archive) printf(format string, args ...any) { a.write(fmt.Appendf(nil, format, args...)) }

// pad aligns the archive to four bytes, as headers and contents must be.
func (a *archive) pad() { a.write(make([]byte, (4-a.n%4)%4)) }

func (a *archive) write(p []byte) {
	if a.err != nil {
		return
	}
	var n int
	n, a.err = a.w.Write(p)
	a.n += int64(n)
}
