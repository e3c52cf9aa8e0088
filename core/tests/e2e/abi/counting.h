/* The interface of a static library that two plugins carry private copies of. */
int counting_next(void);
