// Package watcher follows the changes of a directory tree.
package watcher
