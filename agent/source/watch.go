package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// watcher hints at changes of a folder that may be replaced, be a link, or not exist yet. It watches the folder itself and its
// nearest ancestor that exists: the first sees files, the second sees the folder come, go or be exchanged.
type watcher struct {
	dir string
	fs  *fsnotify.Watcher
	// hints says that something may have changed; one waiting hint stands for any number.
	hints chan struct{}

	// What is watched now, by path; refresh's own.
	watched map[string]os.FileInfo
}

func newWatcher(dir string) (*watcher, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	n, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return &watcher{dir: abs, fs: n, hints: make(chan struct{}, 1), watched: map[string]os.FileInfo{}}, nil
}

// run passes notifications on until close.
func (w *watcher) run() {
	events, failures := w.fs.Events, w.fs.Errors
	for events != nil || failures != nil {
		select {
		case event, ok := <-events:
			if !ok {
				events = nil
			} else if w.concerns(event.Name) {
				w.hint()
			}
		case _, ok := <-failures:
			if !ok {
				failures = nil
			} else {
				// An overflow: anything may have happened.
				w.hint()
			}
		}
	}
}

func (w *watcher) close() { _ = w.fs.Close() }

func (w *watcher) hint() {
	select {
	case w.hints <- struct{}{}:
	default:
	}
}

// concerns says whether a path is the folder, something in it, or something it is in. An ancestor's other children are not.
func (w *watcher) concerns(path string) bool {
	return path == w.dir || strings.HasPrefix(path, w.dir+"/") || strings.HasPrefix(w.dir, strings.TrimSuffix(path, "/")+"/")
}

// refresh makes the watches those of the folders that stand at the paths now. A folder that is missing is no error.
func (w *watcher) refresh() error {
	var err error
	// A folder that came into being just before its parent was watched shows in the next pass.
	for range 10 {
		var changed bool
		if changed, err = w.pass(); !changed {
			break
		}
	}
	return err
}

func (w *watcher) pass() (changed bool, err error) {
	var errs []error
	keep := map[string]bool{}
	for _, path := range []string{w.dir, w.ancestor()} {
		info, err := os.Stat(path)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
			continue
		}
		keep[path] = true
		if old, ok := w.watched[path]; ok && os.SameFile(old, info) && slices.Contains(w.fs.WatchList(), path) {
			continue
		}
		w.forget(path)
		if err := w.fs.Add(path); err != nil {
			errs = append(errs, err)
			continue
		}
		w.watched[path] = info
		changed = true
	}
	for path := range w.watched {
		if !keep[path] {
			w.forget(path)
		}
	}
	return changed, errors.Join(errs...)
}

// ancestor returns the nearest folder above that exists.
func (w *watcher) ancestor() string {
	for path := filepath.Dir(w.dir); ; path = filepath.Dir(path) {
		if info, err := os.Stat(path); err == nil && info.IsDir() || path == filepath.Dir(path) {
			return path
		}
	}
}

// forget drops a watch. The kernel ends one with its folder, so that an error means it is gone already.
func (w *watcher) forget(path string) {
	_ = w.fs.Remove(path)
	delete(w.watched, path)
}
