/* An object library still needs one source while its folder is empty. */
typedef int mgc_empty;
