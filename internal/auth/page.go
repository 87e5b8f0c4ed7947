package auth

// Page is a part of a list.
type Page[T any] struct {
	Items []T
	More  bool // the list goes on after this page
}

// ReadPage reads a page of up to limit items. It asks read for one item more than that. So More is
// true only if there was another item.
func ReadPage[T any](limit int, read func(limit int) ([]T, error)) (Page[T], error) {
	items, err := read(limit + 1)
	if err != nil || len(items) <= limit {
		return Page[T]{Items: items}, err
	}
	return Page[T]{Items: items[:limit], More: true}, nil
}

// Last is the item after which the next page begins, and nil if no page follows.
func (p Page[T]) Last() *T {
	if !p.More {
		return nil
	}
	return &p.Items[len(p.Items)-1]
}
