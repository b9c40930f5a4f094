// Package catalogue reads and writes lists of plugins: what there is, in which
// versions, by whom, with which capabilities, and where a bundle lies.
//
// A catalogue is one JSON document, catalogue.json, in a folder, below an HTTP
// URL, or as the one layer of an OCI artifact. Beside it may stand its
// signature, catalogue.sigstore.json (in a registry: a referrer), made with a
// key of the publisher that the user's list of catalogues names for it.
//
// A catalogue helps to find plugins and is not what makes them trusted: what it
// leads to is checked like any other bundle. So one that is old or cannot be
// reached warns and does not stop an install.
package catalogue
